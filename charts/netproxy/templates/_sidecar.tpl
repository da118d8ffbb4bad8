{{/*
The sidecar. Another chart includes, of this file, netproxy.sidecar, netproxy.volumes, netproxy.podLabels and
netproxy.podAnnotations; or, to run on clusters before 1.29 too, netproxy.initContainer and netproxy.container in place
of the first. All take the top context, or (dict "context" . "profile" NAME).
*/}}

{{/* An item of initContainers, to be the first. Fails where the cluster has no native sidecars. */}}
{{- define "netproxy.sidecar" -}}
{{- $call := dict "given" . "found" true -}}
{{- include "netproxy.call" $call -}}
{{- if ne (include "netproxy.mode" $call.context) "native" -}}
{{- fail (printf "netproxy: netproxy.sidecar is a native sidecar, which Kubernetes %s lacks or sidecar.mode rules out; allowed: 1.29 or newer. For older ones include netproxy.initContainer in initContainers and netproxy.container in containers: each is empty where the other is used." $call.context.Capabilities.KubeVersion.Version) -}}
{{- end -}}
{{- include "netproxy.sidecar.container" $call | fromYaml | list | toYaml -}}
{{- end -}}

{{/* An item of initContainers, to be the first; nothing where the sidecar is an ordinary container. */}}
{{- define "netproxy.initContainer" -}}
{{- $call := dict "given" . "found" true -}}
{{- include "netproxy.call" $call -}}
{{- if eq (include "netproxy.mode" $call.context) "native" -}}
{{- include "netproxy.sidecar.container" $call | fromYaml | list | toYaml -}}
{{- end -}}
{{- end -}}

{{/* An item of containers, to be the first; nothing where the sidecar is native. */}}
{{- define "netproxy.container" -}}
{{- $call := dict "given" . "found" true -}}
{{- include "netproxy.call" $call -}}
{{- if eq (include "netproxy.mode" $call.context) "classic" -}}
{{- include "netproxy.sidecar.container" $call | fromYaml | list | toYaml -}}
{{- end -}}
{{- end -}}

{{/* Items of volumes. */}}
{{- define "netproxy.volumes" -}}
{{- $call := dict "given" . -}}
{{- include "netproxy.call" $call -}}
{{- include "netproxy.sidecar.volumes" $call -}}
{{- end -}}

{{/* Labels of the pod: metrics and the NetworkPolicy go by them, and the injector leaves it alone. */}}
{{- define "netproxy.podLabels" -}}
{{- include "netproxy.call" (dict "given" .) -}}
netproxy.io/inject: included
{{- end -}}

{{/* Annotations of the pod. */}}
{{- define "netproxy.podAnnotations" -}}
{{- $call := dict "given" . -}}
{{- include "netproxy.call" $call -}}
netproxy.io/profile: {{ $call.profile }}
{{- include "netproxy.sidecar.annotations" $call -}}
{{- end -}}

{{/* The file of a profile that the injector reads. Ranges of the cluster that are not given, it finds itself. */}}
{{- define "netproxy.fragment" -}}
{{- $call := dict "given" . -}}
{{- include "netproxy.call" $call -}}
{{- $fragment := dict -}}
{{- $_ := set $fragment "container" (include "netproxy.sidecar.container" $call | fromYaml) -}}
{{- $_ := set $fragment "volumes" (include "netproxy.sidecar.volumes" $call | fromYamlArray) -}}
{{- $_ := set $fragment "place" (eq (include "netproxy.mode" $call.context) "native" | ternary "initContainers" "containers") -}}
{{- $_ := set $fragment "annotations" (include "netproxy.sidecar.annotations" $call | fromYaml) -}}
{{- toYaml $fragment -}}
{{- end -}}

{{/* Begins with a line break where there are any. */}}
{{- define "netproxy.sidecar.annotations" -}}
{{- if eq .context.Values.tun.mode "hostPath" }}
cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes: netproxy-tun
{{- end -}}
{{- end -}}

{{/* The container, as core/v1 has it. Takes a call. */}}
{{- define "netproxy.sidecar.container" -}}
{{- $values := .context.Values -}}
{{- $sidecar := $values.sidecar -}}
{{- $native := eq (include "netproxy.mode" .context) "native" -}}
{{- $secret := include "netproxy.profile.secret" . -}}
{{- $local := include "netproxy.local" . -}}
{{- $env := merge (dict) (default dict .values.env) $sidecar.env -}}
{{- range $name, $use := dict "NETPROXY_CONFIG" "profiles.NAME.existingConfigMap" "NETPROXY_LOCAL" "cluster.cidrs, or local of the profile" "NETPROXY_CONTROL_LISTEN" "metrics.address and metrics.port" -}}
{{- if hasKey $env $name -}}
{{- fail (printf "netproxy: env of the sidecar, or of profiles.%s, has %s, which the chart sets itself; allowed: other settings of docs/configuration.md. Use %s." $.profile $name $use) -}}
{{- end -}}
{{- end -}}
{{- $resources := deepCopy (default $sidecar.resources .values.resources) -}}
{{- $plugin := eq $values.tun.mode "devicePlugin" -}}
{{- if $plugin -}}
{{- $device := required "netproxy: tun.mode is devicePlugin and tun.resource is empty; allowed: the name of the resource that the plugin serves /dev/net/tun as, such as squat.ai/tun. Give it." $values.tun.resource -}}
{{- $_ := set $resources "limits" (merge (dict $device 1) (default dict $resources.limits)) -}}
{{- end -}}
name: netproxy
image: {{ include "netproxy.image" .context | quote }}
imagePullPolicy: {{ $values.image.pullPolicy }}
args: [run]
{{- if $native }}
restartPolicy: Always
{{- end }}
env:
  - { name: NETPROXY_CONFIG, value: /etc/netproxy/config/netproxy.yaml }
  {{- with $local }}
  - { name: NETPROXY_LOCAL, value: {{ . | quote }} }
  {{- end }}
  {{- if $values.metrics.enabled }}
  - { name: NETPROXY_CONTROL_LISTEN, value: {{ printf "%s:%v" $values.metrics.address $values.metrics.port | quote }} }
  {{- end }}
  {{- range $name := keys $env | sortAlpha }}
  - { name: {{ $name }}, value: {{ get $env $name | toString | quote }} }
  {{- end }}
{{- if $values.metrics.enabled }}
ports:
  - { name: netproxy, containerPort: {{ $values.metrics.port }}, protocol: TCP }
{{- end }}
{{- if not $native }}
# The kubelet starts the containers after this one when it has ended.
lifecycle:
  postStart:
    exec:
      command: [netproxy, wait, {{ $sidecar.classicWait }}]
{{- else }}
startupProbe:
  exec: { command: [/app/health] }
  {{- toYaml $sidecar.startupProbe | nindent 2 }}
{{- end }}
{{- if $sidecar.readinessProbe.enabled }}
readinessProbe:
  exec: { command: [/app/health] }
  {{- toYaml (omit $sidecar.readinessProbe "enabled") | nindent 2 }}
{{- end }}
resources:
  {{- toYaml $resources | nindent 2 }}
securityContext:
  # Root, since capabilities of a container are root's; of those it has this one.
  runAsUser: 0
  runAsGroup: 0
  runAsNonRoot: false
  privileged: false
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
    add: {{ concat (list "NET_ADMIN") $sidecar.extraCapabilities | uniq | toJson }}
  seccompProfile: { type: RuntimeDefault }
terminationMessagePolicy: FallbackToLogsOnError
volumeMounts:
  # Whole volumes: what is mounted by subPath never changes again.
  - { name: netproxy-config, mountPath: /etc/netproxy/config, readOnly: true }
  {{- if $secret }}
  - { name: netproxy-keys, mountPath: /etc/netproxy/keys, readOnly: true }
  {{- end }}
  - { name: netproxy-run, mountPath: /run/netproxy }
  {{- if not $plugin }}
  - { name: netproxy-tun, mountPath: /dev/net/tun }
  {{- end }}
{{- end -}}

{{/* Its volumes. Takes a call. */}}
{{- define "netproxy.sidecar.volumes" -}}
- name: netproxy-config
  configMap: { name: {{ include "netproxy.profile.configMap" . }} }
{{- with include "netproxy.profile.secret" . }}
- name: netproxy-keys
  secret: { secretName: {{ . }}, defaultMode: 0400 }
{{- end }}
- name: netproxy-run
  emptyDir: { medium: Memory, sizeLimit: {{ .context.Values.sidecar.runSize }} }
{{- if eq .context.Values.tun.mode "hostPath" }}
- name: netproxy-tun
  hostPath: { path: /dev/net/tun, type: CharDevice }
{{- end }}
{{- end -}}
