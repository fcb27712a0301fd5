{{/*
A Job that creates the Secret if it does not exist, for renderings without a cluster. For Helm and Argo CD it is a hook
that runs before everything else; `kubectl apply` creates it as any other object, and the pods wait for the Secret. Its
name changes with its content, because a Job cannot be changed.
*/}}
{{- define "arks.secretJob" -}}
{{- $fullname := include "arks.fullname" . -}}
{{- $account := printf "%s-secrets" $fullname -}}
{{- $secret := include "arks.secretName" . -}}
{{- $image := include "arks.ownImage" (dict "root" . "service" "token-quota") -}}
{{- $script := .Files.Get "files/secrets.py" -}}
{{- $values := .Values.defaults -}}
{{- $inputs := list $image $script $secret $values .Values.image.pullPolicy .Values.imagePullSecrets .Values.runAsUser -}}
{{- $hash := toJson $inputs | sha256sum | trunc 8 -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  {{- include "arks.secretJobMetadata" (dict "root" . "name" $account "weight" "-2") | nindent 2 }}
automountServiceAccountToken: false
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  {{- include "arks.secretJobMetadata" (dict "root" . "name" $account "weight" "-2") | nindent 2 }}
rules:
  # The verb create cannot be limited to a name.
  - apiGroups: [""]
    resources: [secrets]
    verbs: [create]
  - apiGroups: [""]
    resources: [secrets]
    resourceNames: [{{ $secret }}]
    verbs: [get, patch]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  {{- include "arks.secretJobMetadata" (dict "root" . "name" $account "weight" "-2") | nindent 2 }}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: {{ $account }}}
subjects:
  - {kind: ServiceAccount, name: {{ $account }}, namespace: {{ .Release.Namespace }}}
{{- if .Values.networkPolicy.enabled }}
{{- $api := .Values.networkPolicy.apiServer }}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  {{- include "arks.secretJobMetadata" (dict "root" . "name" $account "weight" "-2") | nindent 2 }}
spec:
  podSelector:
    matchLabels:
      {{- include "arks.secretJobLabels" . | nindent 6 }}
  policyTypes: [Ingress, Egress]
  egress:
    - ports:
        {{- range $api.ports }}
        - {port: {{ . }}, protocol: TCP}
        {{- end }}
      {{- with $api.peers }}
      to:
        {{- toYaml . | nindent 8 }}
      {{- end }}
{{- end }}
---
apiVersion: batch/v1
kind: Job
metadata:
  {{- include "arks.secretJobMetadata" (dict "root" . "name" (printf "%s-%s" $account $hash) "weight" "-1") | nindent 2 }}
spec:
  backoffLimit: 10
  activeDeadlineSeconds: 600
  ttlSecondsAfterFinished: 600
  template:
    metadata:
      labels:
        {{- include "arks.secretJobLabels" . | nindent 8 }}
    spec:
      serviceAccountName: {{ $account }}
      automountServiceAccountToken: true
      enableServiceLinks: false
      restartPolicy: OnFailure
      securityContext:
        {{- include "arks.podSecurity" (dict "user" .Values.runAsUser) | nindent 8 }}
      {{- include "arks.placement" (dict "root" . "values" $values) | nindent 6 }}
      containers:
        - {{- include "arks.container" (dict "root" . "container" (dict
            "name" "secrets"
            "image" $image
            "command" (list "python" "-c")
            "args" (list $script .Release.Namespace $secret)
            "resources" (dict "requests" (dict "cpu" "10m" "memory" "32Mi") "limits" (dict "memory" "128Mi"))
          )) | nindent 10 }}
      volumes:
        - name: tmp
          emptyDir: {}
{{- end -}}

{{/* Not the labels of a release's pods: their NetworkPolicies do not exist yet when the Job runs. */}}
{{- define "arks.secretJobLabels" -}}
app.kubernetes.io/name: {{ include "arks.fullname" . }}-secrets
app.kubernetes.io/part-of: arks
{{- end -}}

{{/* (root, name, weight) */}}
{{- define "arks.secretJobMetadata" -}}
name: {{ .name }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "arks.labels" .root | nindent 2 }}
  app.kubernetes.io/component: secrets
annotations:
  helm.sh/hook: pre-install,pre-upgrade
  helm.sh/hook-weight: {{ .weight | quote }}
  helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end -}}
