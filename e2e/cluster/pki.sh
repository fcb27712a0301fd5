# Certificates of the test cluster (P-256, two days), created in the current directory. Sourced by up.sh.
new_key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"; }

authority() { # NAME
  new_key "$1"
  openssl req -x509 -key "$1.key" -days 2 -subj "/CN=$1" -out "$1.crt" 2>/dev/null
}

certificate() { # NAME SUBJECT AUTHORITY [ALTERNATIVE NAMES]
  new_key "$1"
  printf 'extendedKeyUsage=serverAuth,clientAuth\n%s\n' "${4:+subjectAltName=$4}" >"$1.ext"
  openssl req -new -key "$1.key" -subj "$2" -out "$1.csr" 2>/dev/null
  openssl x509 -req -in "$1.csr" -CA "$3.crt" -CAkey "$3.key" -CAcreateserial -days 2 -extfile "$1.ext" -out "$1.crt" 2>/dev/null
}

kubeconfig() { # NAME FILE: everything inside, so that the file can be copied
  cat >"$2" <<YAML
apiVersion: v1
kind: Config
current-context: arks
clusters: [{name: arks, cluster: {server: "https://$NODE_IP:6443", certificate-authority-data: $(base64 -w0 ca.crt)}}]
users: [{name: arks, user: {client-certificate-data: $(base64 -w0 "$1.crt"), client-key-data: $(base64 -w0 "$1.key")}}]
contexts: [{name: arks, context: {cluster: arks, user: arks}}]
YAML
}
