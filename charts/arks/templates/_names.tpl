{{/* 36 characters leave room for the longest component name and for the suffix of a pod's name. */}}
{{- define "arks.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 36 | trimSuffix "-" -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 36 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 36 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "arks.selector" -}}
app.kubernetes.io/name: arks
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Labels of pods: no version, because each change of a pod's label restarts it. */}}
{{- define "arks.podLabels" -}}
{{ include "arks.selector" . }}
app.kubernetes.io/part-of: arks
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "arks.labels" -}}
{{ include "arks.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: arks
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* (root, image): registry/repository:tag, or by digest. */}}
{{- define "arks.image" -}}
{{- $registry := .image.registry | default .root.Values.image.registry | trimSuffix "/" -}}
{{- $name := ternary (printf "%s/%s" $registry .image.repository) .image.repository (ne $registry "") -}}
{{- if .image.digest -}}
{{- printf "%s@%s" $name .image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name .image.tag -}}
{{- end -}}
{{- end -}}

{{/* (root, service): the image of one of Arks' own programs. */}}
{{- define "arks.ownImage" -}}
{{- $values := .root.Values -}}
{{- $own := dict
  "repository" (printf "%s/%s" $values.image.repository .service)
  "tag" ($values.image.tag | default .root.Chart.AppVersion) -}}
{{- $service := index $values.services .service | default dict -}}
{{- include "arks.image" (dict "root" .root "image" (mergeOverwrite $own ($service.image | default dict))) -}}
{{- end -}}

{{- define "arks.secretName" -}}
{{- .Values.secrets.existingSecret | default (printf "%s-secrets" (include "arks.fullname" .)) -}}
{{- end -}}

{{/* The port of a URL; `default` if it has none, of an HTTP address the one that its scheme means. */}}
{{- define "arks.urlPort" -}}
{{- $url := urlParse .url -}}
{{- $default := get (dict "http" "80" "https" "443") $url.scheme | default .default -}}
{{- regexFind ":[0-9]+$" $url.host | trimPrefix ":" | default $default -}}
{{- end -}}
