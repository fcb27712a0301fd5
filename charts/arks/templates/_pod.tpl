{{/* (root, name, component): the pod template of every workload. */}}
{{- define "arks.pod" -}}
{{- $root := .root -}}
{{- $component := .component -}}
{{- $values := mergeOverwrite (deepCopy $root.Values.defaults) $component.values -}}
{{- $user := hasKey $component "runAsUser" | ternary $component.runAsUser $root.Values.runAsUser -}}
metadata:
  labels:
    {{- include "arks.podLabels" $root | nindent 4 }}
    app.kubernetes.io/component: {{ .name }}
    {{- with $values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    kubectl.kubernetes.io/default-container: {{ $component.main | default (first $component.containers).name }}
    {{- with $component.config }}
    arks.ai/config: {{ sha256sum . | trunc 16 | quote }}
    {{- end }}
    {{- with $values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "arks.fullname" $root }}-{{ .name }}
  automountServiceAccountToken: {{ $component.account | default false }}
  # Kubernetes' variables for Services would be read as settings: ARKS_TOKEN_QUOTA_PORT=tcp://10.0.0.7:8090
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ $component.graceSeconds }}
  securityContext:
    {{- include "arks.podSecurity" (dict "user" $user) | nindent 4 }}
    {{- if not (kindIs "invalid" $user) }}
    runAsGroup: {{ int64 $user }}
    fsGroup: {{ int64 $user }}
    fsGroupChangePolicy: OnRootMismatch
    {{- end }}
  {{- include "arks.placement" (dict "root" $root "values" $values) | nindent 2 }}
  {{- if $values.topologySpreadConstraints }}
  topologySpreadConstraints:
    {{- toYaml $values.topologySpreadConstraints | nindent 4 }}
  {{- else if and $root.Values.topologyKeys (ne $component.controller "DaemonSet") }}
  topologySpreadConstraints:
    {{- range $root.Values.topologyKeys }}
    - topologyKey: {{ . }}
      maxSkew: 1
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "arks.selector" $root | nindent 10 }}
          app.kubernetes.io/component: {{ $.name }}
      {{- if eq $component.controller "Deployment" }}
      # Do not count the old pods of a rollout
      matchLabelKeys: [pod-template-hash]
      {{- end }}
    {{- end }}
  {{- end }}
  {{- $first := list }}
  {{- $containers := list }}
  {{- range $component.containers }}
  {{- $container := include "arks.container" (dict "root" $root "container" . "extra" $values) | fromYaml }}
  {{- if or .init .sidecar }}
  {{- $first = append $first $container }}
  {{- else }}
  {{- $containers = append $containers $container }}
  {{- end }}
  {{- end }}
  {{- with $first }}
  initContainers:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    {{- toYaml $containers | nindent 4 }}
  volumes:
    - name: tmp
      emptyDir: {}
    {{- if hasKey $component "secrets" }}
    - {{- include "arks.secretVolume" (dict "root" $root "names" $component.secrets) | nindent 6 }}
    {{- end }}
    {{- with $component.volumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
    {{- with $values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}

{{/* (root, values): from where a pod gets its images, and on which nodes it may run. */}}
{{- define "arks.placement" -}}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- $values := .values }}
{{- range $key := list "nodeSelector" "tolerations" "affinity" }}
{{- with index $values $key }}
{{ $key }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end -}}

{{/* (user): the restricted Pod Security Standard, but for user 0. Without a user the platform chooses one. */}}
{{- define "arks.podSecurity" -}}
runAsNonRoot: {{ ne (toString .user) "0" }}
{{- if not (kindIs "invalid" .user) }}
runAsUser: {{ int64 .user }}
{{- end }}
seccompProfile:
  type: RuntimeDefault
{{- end -}}
