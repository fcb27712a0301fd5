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

{{/* A LabelSelector as one line, as `kubectl get -l` reads it; empty for none. */}}
{{- define "arks.labelSelector" -}}
{{- $terms := list -}}
{{- range $key, $value := .matchLabels -}}
{{- $terms = append $terms (printf "%s=%s" $key $value) -}}
{{- end -}}
{{- range .matchExpressions -}}
{{- if eq .operator "Exists" -}}
{{- $terms = append $terms .key -}}
{{- else if eq .operator "DoesNotExist" -}}
{{- $terms = append $terms (printf "!%s" .key) -}}
{{- else -}}
{{- $terms = append $terms (printf "%s %s (%s)" .key (lower .operator) (join "," .values)) -}}
{{- end -}}
{{- end -}}
{{- join "," $terms -}}
{{- end -}}

{{/* What a release serves, in its marker: "*", the name of a namespace, or labels. */}}
{{- define "arks.serves" -}}
{{- .Values.watchNamespace | default (include "arks.labelSelector" .Values.watchNamespaceSelector) | default "*" -}}
{{- end -}}

{{/* The same as words. */}}
{{- define "arks.served" -}}
{{- if .Values.watchNamespace -}}
namespace {{ .Values.watchNamespace }}
{{- else if eq (include "arks.serves" .) "*" -}}
all namespaces
{{- else -}}
the namespaces with {{ include "arks.serves" . }}
{{- end -}}
{{- end -}}

{{/* Whether any endpoints may have HTTPRoutes; empty if not. */}}
{{- define "arks.httpRoutes" -}}
{{- with .Values.gateway.httpRoutes -}}
{{- if or .namespaces (include "arks.labelSelector" .namespaceSelector) -}}
true
{{- end -}}
{{- end -}}
{{- end -}}
