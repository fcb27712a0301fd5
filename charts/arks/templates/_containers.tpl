{{/*
(root, container): one container. Fields besides those that Kubernetes names the same way:
  env        name: value                  secretEnv   name: one of arks.secrets        fieldEnv   name: field path
  ports      name: number                 mounts      volume: path
  extra      {extraEnv, envFrom, extraVolumeMounts} of values.yaml
  sidecar    true: starts before the main container and ends after it
  init       true: ends before the containers after it start
  readOnly   volumes, besides those that are never written
*/}}
{{- define "arks.container" -}}
{{- $container := .container -}}
{{- $secrets := include "arks.secrets" .root | fromYaml -}}
{{- $extra := .extra | default dict -}}
name: {{ $container.name }}
image: {{ $container.image }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
{{- if $container.sidecar }}
restartPolicy: Always
{{- end }}
{{- with $container.command }}
command:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $container.args }}
args:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if or $container.env $container.fieldEnv $container.secretEnv $extra.extraEnv }}
env:
  {{- range $name, $value := $container.env }}
  - name: {{ $name }}
    value: {{ $value | quote }}
  {{- end }}
  {{- range $name, $path := $container.fieldEnv }}
  - name: {{ $name }}
    valueFrom:
      fieldRef: {fieldPath: {{ $path }}}
  {{- end }}
  {{- range $name, $secret := $container.secretEnv }}
  {{- with index $secrets $secret }}
  - name: {{ $name }}
    valueFrom:
      secretKeyRef: {{ toJson . }}
  {{- end }}
  {{- end }}
  {{- with $extra.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
{{- with $extra.envFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $container.ports }}
ports:
  {{- range $name, $port := . }}
  - name: {{ $name }}
    containerPort: {{ $port }}
  {{- end }}
{{- end }}
{{- range $key := list "startupProbe" "readinessProbe" "livenessProbe" "lifecycle" }}
{{- with index $container $key }}
{{ $key }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
resources:
  {{- toYaml $container.resources | nindent 2 }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
volumeMounts:
  - name: tmp
    mountPath: /tmp
  {{- range $volume, $path := $container.mounts }}
  - name: {{ $volume }}
    mountPath: {{ $path }}
    {{- if has $volume (concat (list "secrets" "config" "bootstrap" "certificate") ($container.readOnly | default list)) }}
    readOnly: true
    {{- end }}
  {{- end }}
  {{- with $extra.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{/* (root, names): the volume `secrets`, with a file for each named secret of arks.secrets that exists. */}}
{{- define "arks.secretVolume" -}}
{{- $secrets := include "arks.secrets" .root | fromYaml -}}
{{- $sources := list -}}
{{- range $name := .names -}}
{{- with index $secrets $name -}}
{{- $items := list (dict "key" .key "path" $name) -}}
{{- $sources = append $sources (dict "secret" (dict "name" .name "items" $items)) -}}
{{- end -}}
{{- end -}}
name: secrets
{{- if $sources }}
projected:
  defaultMode: 0440
  sources:
    {{- toYaml $sources | nindent 4 }}
{{- else }}
emptyDir: {}
{{- end }}
{{- end -}}
