{{/*
Helm removes a value that is set to null, with everything below it, from the values that templates see: `gateway:` with
nothing below would end in a fault of some template. Every template of this chart begins with arks.prepare, which gives
such values their defaults again. files/defaults.json has them; a test writes it from values.yaml. `runAsUser: null` keeps
its own meaning, and inside of `resources` and `labels` null removes an entry, as usual.
*/}}
{{- define "arks.prepare" -}}
{{- if not .prepared -}}
{{- $default := .Files.Get "files/defaults.json" | fromJson -}}
{{- $_ := set . "Values" (include "arks.withDefaults" (dict "default" $default "own" .Values) | fromJson) -}}
{{- $_ := set . "prepared" true -}}
{{- end -}}
{{- end -}}

{{/* (default, own): `own` without nulls, and the defaults that it lacks. */}}
{{- define "arks.withDefaults" -}}
{{- $all := omit (deepCopy .default) "runAsUser" -}}
{{- range $key, $value := .own -}}
{{- $default := get $all $key -}}
{{- if and (kindIs "map" $value) (not (has $key (list "resources" "labels"))) -}}
{{- $below := ternary $default (dict) (kindIs "map" $default) -}}
{{- $_ := set $all $key (include "arks.withDefaults" (dict "default" $below "own" $value) | fromJson) -}}
{{- else if not (kindIs "invalid" $value) -}}
{{- $_ := set $all $key $value -}}
{{- end -}}
{{- end -}}
{{- toJson $all -}}
{{- end -}}
