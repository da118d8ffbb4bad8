{{/*
What objects are called and labelled. All of these take the context of this chart.
*/}}

{{- define "netproxy.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The name of a part, within 63 characters whatever the release is called: (list CONTEXT PART) */}}
{{- define "netproxy.partname" -}}
{{- $part := index . 1 -}}
{{- printf "%s-%s" (include "netproxy.fullname" (index . 0) | trunc (int (sub 62 (len $part))) | trimSuffix "-") $part -}}
{{- end -}}

{{- define "netproxy.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* What a part is selected by: (list CONTEXT PART) */}}
{{- define "netproxy.selector" -}}
{{- $context := index . 0 -}}
app.kubernetes.io/name: {{ default $context.Chart.Name $context.Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ $context.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* The lines "labels" and "annotations" of an object: (list CONTEXT PART), or (list CONTEXT PART LABELS) */}}
{{- define "netproxy.metadata" -}}
{{- $context := index . 0 -}}
labels:
  {{- include "netproxy.labels" $context | nindent 2 }}
  app.kubernetes.io/component: {{ index . 1 }}
  {{- if gt (len .) 2 }}
  {{- with index . 2 }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  {{- end }}
{{- with $context.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "netproxy.image" -}}
{{- $image := .Values.image -}}
{{- $name := $image.repository -}}
{{- with $image.registry -}}{{- $name = printf "%s/%s" (trimSuffix "/" .) $name -}}{{- end -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $name $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (default .Chart.AppVersion $image.tag) -}}
{{- end -}}
{{- end -}}

{{/* "true" when the injector is wanted; "auto" leaves it out of a chart that has this one as a dependency. */}}
{{- define "netproxy.injector.enabled" -}}
{{- $enabled := .Values.injector.enabled -}}
{{- if or (and (kindIs "bool" $enabled) $enabled) (and (eq (toString $enabled) "auto") .Chart.IsRoot) -}}true{{- end -}}
{{- end -}}

{{- define "netproxy.injector.serviceAccount" -}}
{{- $account := .Values.injector.serviceAccount -}}
{{- if $account.create -}}
{{- default (include "netproxy.partname" (list . "injector")) $account.name -}}
{{- else -}}
{{- required "netproxy: injector.serviceAccount.create is false and injector.serviceAccount.name is empty; allowed: the name of a ServiceAccount of the release's namespace. Name one, or set create to true." $account.name -}}
{{- end -}}
{{- end -}}

{{/* "native" or "classic". */}}
{{- define "netproxy.mode" -}}
{{- if ne .Values.sidecar.mode "auto" -}}
{{- .Values.sidecar.mode -}}
{{- else if semverCompare ">=1.29.0-0" .Capabilities.KubeVersion.Version -}}
native
{{- else -}}
classic
{{- end -}}
{{- end -}}
