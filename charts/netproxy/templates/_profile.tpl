{{/*
Profiles: what a sidecar is configured by. All of these take a call, as "netproxy.call" makes it.
*/}}

{{/*
Completes a call: (dict "given" X), X being the context of this chart, that of a chart that depends on it, or
(dict "context" C "profile" NAME). Sets context, profile (the name), and values (of the profile). A template cannot
return a context, so it is put into the dictionary that was passed.
*/}}
{{- define "netproxy.call" -}}
{{- $given := .given -}}
{{- $context := $given -}}
{{- $name := "default" -}}
{{- if hasKey $given "context" -}}
{{- $context = $given.context -}}
{{- $name = default "default" $given.profile -}}
{{- end -}}
{{- if and (hasKey $context "Subcharts") (hasKey $context.Subcharts "netproxy") -}}
{{- $context = $context.Subcharts.netproxy -}}
{{- end -}}
{{- if not (and (hasKey $context "Values") (hasKey $context.Values "profiles") (hasKey $context.Values "tun")) -}}
{{- fail "netproxy: this template was given neither the context of a chart that has netproxy among its dependencies nor netproxy's own; allowed: {{ include \"netproxy.sidecar\" . }} or (dict \"context\" . \"profile\" \"NAME\"), in which the dot is the top context. Within \"range\" or \"with\", write $ for the dot; under an alias, .Subcharts.ALIAS." -}}
{{- end -}}
{{- if not (hasKey $context.Values.profiles $name) -}}
{{- $known := keys $context.Values.profiles | sortAlpha -}}
{{- fail (printf "netproxy: there is no profile %q; allowed: %s. Add profiles.%s, or name another." $name (empty $known | ternary "none, since profiles is empty" (join ", " $known)) $name) -}}
{{- end -}}
{{- $_ := set . "context" $context -}}
{{- $_ := set . "profile" $name -}}
{{- $_ := set . "values" (default dict (get $context.Values.profiles $name)) -}}
{{- include "netproxy.profile.check" . -}}
{{- end -}}

{{/* Prints nothing; fails where the values of the profile cannot work. */}}
{{- define "netproxy.profile.check" -}}
{{- $p := .values -}}
{{- $at := printf "netproxy: profiles.%s" .profile -}}
{{- if $p.existingConfigMap -}}
{{- range $key := list "bastions" "groups" "rules" "options" "knownHosts" -}}
{{- if get $p $key -}}
{{- fail (printf "%s.%s is set, and so is %s.existingConfigMap, which has the configuration already; allowed: one of them. Remove one." $at $key $at) -}}
{{- end -}}
{{- end -}}
{{- else if not $p.bastions -}}
{{- fail (printf "%s.bastions is empty; allowed: a list such as [{name: main, host: bastion.example, user: deploy}]. Give it, or existingConfigMap." $at) -}}
{{- end -}}
{{- if $p.existingSecret -}}
{{- range $key := list "privateKey" "certificate" "secretData" -}}
{{- if get $p $key -}}
{{- fail (printf "%s.%s is set, and so is %s.existingSecret, which has the keys already; allowed: one of them. Remove one." $at $key $at) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- with $p.privateKey -}}
{{- if not (hasPrefix "-----BEGIN " (trim .)) -}}
{{- fail (printf "%s.privateKey is not a private key: it does not begin with \"-----BEGIN \" (its text is not shown); allowed: the contents of a file as ssh-keygen writes it. Use --set-file %s.privateKey=FILE." $at (trimPrefix "netproxy: " $at)) -}}
{{- end -}}
{{- end -}}
{{- if and $p.certificate (not $p.privateKey) -}}
{{- fail (printf "%s.certificate is set without privateKey; allowed: both, or existingSecret with the keys \"key\" and \"key-cert.pub\". Give the key that it was issued for." $at) -}}
{{- end -}}
{{- range $index, $bastion := $p.bastions -}}
{{- $where := printf "%s.bastions[%d] (%s)" $at $index (default "without a name" $bastion.name) -}}
{{- $trusted := or $p.knownHosts $bastion.knownHostsFile $bastion.hostKeys $bastion.tofu -}}
{{- if not $trusted -}}
{{- fail (printf "%s has no host key to be known by: %s.knownHosts is empty; allowed: lines of known_hosts there, or hostKeys of the bastion. \"netproxy keyscan %s\" prints both, to be checked by a person." $where $at $bastion.host) -}}
{{- end -}}
{{- if not (or (include "netproxy.bastion.login" $bastion) $p.existingSecret $p.privateKey) -}}
{{- fail (printf "%s has nothing to log in with: %s.existingSecret and privateKey are empty; allowed: a Secret with the key \"key\", or identityFile, passwordFile, keyboardInteractiveFile or agent of the bastion. Make one: kubectl create secret generic NAME --from-file=key=FILE" $where $at) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Not empty when a bastion says itself how to log in. */}}
{{- define "netproxy.bastion.login" -}}
{{- or .identityFile .passwordFile .keyboardInteractiveFile .agent | default "" -}}
{{- end -}}

{{- define "netproxy.profile.configMap" -}}
{{- .values.existingConfigMap | default (include "netproxy.partname" (list .context .profile)) -}}
{{- end -}}

{{/* Empty where nothing secret is needed. */}}
{{- define "netproxy.profile.secret" -}}
{{- if .values.existingSecret -}}
{{- .values.existingSecret -}}
{{- else if or .values.privateKey .values.secretData -}}
{{- include "netproxy.partname" (list .context .profile) -}}
{{- end -}}
{{- end -}}

{{/* The file netproxy.yaml. What a bastion does not say of keys and host keys is what the profile has. */}}
{{- define "netproxy.profile.configuration" -}}
{{- $p := .values -}}
{{- $bastions := list -}}
{{- range $p.bastions -}}
{{- $bastion := deepCopy . -}}
{{- if not (include "netproxy.bastion.login" .) -}}
{{- $_ := set $bastion "identityFile" "/etc/netproxy/keys/key" -}}
{{- end -}}
{{- if not (or .knownHostsFile .hostKeys .tofu) -}}
{{- $_ := set $bastion "knownHostsFile" "/etc/netproxy/config/known_hosts" -}}
{{- end -}}
{{- $bastions = append $bastions $bastion -}}
{{- end -}}
{{- $file := dict "bastions" $bastions -}}
{{- with $p.groups -}}{{- $_ := set $file "groups" . -}}{{- end -}}
{{- with $p.rules -}}{{- $_ := set $file "rules" . -}}{{- end -}}
{{- toYaml (merge $file (deepCopy (default dict $p.options))) -}}
{{- end -}}

{{/* Where its objects are made, as a list in YAML. */}}
{{- define "netproxy.profile.namespaces" -}}
{{- toYaml (default (list .context.Release.Namespace) .values.namespaces | uniq) -}}
{{- end -}}

{{/*
The networks that stay direct, with commas between: those of the cluster and those of the profile. "found: true" in
the call asks the cluster for what is not given, and fails where that is told nothing.
*/}}
{{- define "netproxy.local" -}}
{{- $context := .context -}}
{{- $cluster := $context.Values.cluster -}}
{{- $ranges := default list $cluster.cidrs -}}
{{- if and .found (not $ranges) -}}
{{- $services := list -}}
{{- $pods := list -}}
{{- if $cluster.lookup -}}
{{- range $version := list "networking.k8s.io/v1" "networking.k8s.io/v1beta1" -}}
{{- if $context.Capabilities.APIVersions.Has (printf "%s/ServiceCIDR" $version) -}}
{{- range (lookup $version "ServiceCIDR" "" "").items -}}{{- $services = concat $services .spec.cidrs -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- range (lookup "v1" "Node" "" "").items -}}{{- $pods = concat $pods (default list .spec.podCIDRs) -}}{{- end -}}
{{- end -}}
{{- if and $services $pods -}}
{{- $ranges = concat $services $pods | uniq -}}
{{- else if eq $cluster.ifUnknown "fail" -}}
{{- fail (printf "netproxy: the networks of Services and pods are not known, and would go to the bastion: cluster.cidrs is empty, and the cluster told of Services [%s] and of pods [%s]; allowed: a list such as [10.96.0.0/12, 10.244.0.0/16]. Give it, always where there is no cluster to ask (helm template); cluster.ifUnknown=continue goes on without." (join ", " $services) (join ", " $pods)) -}}
{{- end -}}
{{- end -}}
{{- join "," (concat $ranges (default list .values.local) | uniq) -}}
{{- end -}}
