#!/usr/bin/env bash
# Builds root file systems from Debian packages, for machines without an image registry. Packages are unpacked without
# running their scripts; this script writes what they would have written (users, certificates, links).
# usage: baseimage.sh python|postgresql OUT.tar
set -euo pipefail
kind=$1
out=$(realpath -m "$2")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
root=$scratch/root

case $kind in
  python) packages=python3,bash,ca-certificates,tzdata,libstdc++6,libgomp1 user=1000 ;; # C++ libraries for wheels without their own
  postgresql) packages=postgresql-15,postgresql-client-15,tzdata user=999 ;; # the user of PostgreSQL's official images
  *) echo "usage: baseimage.sh python|postgresql OUT.tar" >&2; exit 2 ;;
esac

mmdebstrap --quiet --variant=extract --include="busybox-static,$packages" bookworm "$root"
cd "$root"

unneeded() { rm -rf "$@"; }
unneeded usr/share/{doc,doc-base,man,info,lintian,bash-completion,pixmaps,applications,initramfs-tools,polkit-1,bug,binfmts}
unneeded usr/share/{debconf,dpkg,perl,perl5,python3/debpython/__pycache__} usr/share/locale usr/lib/*/{perl,perl-base,gconv} usr/bin/perl*
unneeded var/{cache,log} var/lib/{apt,dpkg} etc/apt usr/lib/apt dev/* # package management
unneeded usr/bin/{dpkg,debconf,update-alternatives}* usr/sbin/{dpkg,update-ca-certificates}* usr/bin/{c_rehash,pygettext3*,pydoc3*,pdb3*}
case $kind in
  python)
    unneeded usr/lib/python3*/{test,idlelib,tkinter,lib2to3,ensurepip,pydoc_data,turtledemo}
    ln -s python3 usr/bin/python
    cat usr/share/ca-certificates/*/*.crt >etc/ssl/certs/ca-certificates.crt
    ln -sfn /etc/ssl/certs/ca-certificates.crt usr/lib/ssl/cert.pem # OpenSSL's default path
    ;;
  postgresql)
    unneeded usr/lib/llvm* usr/lib/*/libLLVM* usr/lib/*/libz3.so* usr/lib/postgresql/*/lib/{bitcode,llvmjit*} # 110 MB, for long queries
    unneeded usr/lib/*/libicudata.a usr/share/postgresql-common usr/lib/python3* usr/bin/python3* usr/lib/systemd
    for program in usr/lib/postgresql/*/bin/*; do ln -sf "/$program" usr/bin/; done
    ;;
esac

mkdir -p tmp var/tmp proc sys dev run etc home
chmod 1777 tmp var/tmp
printf 'root:x:0:0:root:/root:/bin/sh\napp:x:%s:%s::/tmp:/bin/sh\nnobody:x:65534:65534::/nonexistent:/bin/false\n' "$user" "$user" >etc/passwd
printf 'root:x:0:\napp:x:%s:\nnogroup:x:65534:\n' "$user" >etc/group
printf 'passwd: files\ngroup: files\nhosts: files dns\n' >etc/nsswitch.conf
for name in $(bin/busybox --list); do
  [ -e "bin/$name" ] || [ -e "usr/bin/$name" ] || ln -s /bin/busybox "bin/$name"
done
mkdir -p "$(dirname "$out")"
tar --numeric-owner --sort=name --mtime=@0 -cf "$out.part" .
mv "$out.part" "$out"
