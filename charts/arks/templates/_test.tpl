{{/* The pod of `helm test` as a component: it queries the readiness of every service and sends a request without a key
to the gateway. */}}
{{- define "arks.test" -}}
{{- $fullname := include "arks.fullname" . -}}
connects:
  - {to: gateway, port: {{ (include "arks.gatewayPort" . | fromYaml).number }}}
  {{- range $service := keys .Values.services | sortAlpha }}
  - {to: {{ $service }}, port: 8081}
  {{- end }}
containers:
  - name: test
    image: {{ include "arks.ownImage" (dict "root" . "service" "token-quota") }}
    command: [python, -c]
    args:
      - {{ .Files.Get "files/check.py" | quote }}
      - {{ include "arks.gatewayAddress" . }}
      {{- range $service := keys .Values.services | sortAlpha }}
      - http://{{ $fullname }}-{{ $service }}:8081
      {{- end }}
    resources:
      requests: {cpu: 10m, memory: 32Mi}
      limits: {memory: 128Mi}
{{- end -}}
