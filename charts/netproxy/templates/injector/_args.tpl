{{/* Flags of "netproxy injector", as a list in YAML. */}}
{{- define "netproxy.injector.args" -}}
{{- $injector := .Values.injector -}}
- --webhook
- {{ include "netproxy.fullname" . }}
{{- if .Values.certManager.enabled }}
- --tls-folder
- /etc/netproxy-injector/tls
{{- else }}
- --tls-secret
- {{ include "netproxy.partname" (list . "injector-tls") }}
{{- end }}
- --listen
- {{ printf "%s:%v" $injector.address $injector.ports.https | quote }}
- --status-listen
- {{ printf "%s:%v" $injector.address $injector.ports.http | quote }}
{{- with .Values.cluster.cidrs }}
- --cluster-cidrs
- {{ join "," . | quote }}
{{- end }}
- --log-level
- {{ $injector.logLevel }}
{{- end -}}
