package store

import (
	"regexp"
	"strings"
)

// Redacted is String without the value of any option that could be a secret,
// for logs, mount tables and messages.
func (u URL) Redacted() string {
	u.Query = redactQuery(u.Query)
	return u.String()
}

// Redacted is the URL of a workspace without secrets, see [URL.Redacted]; it is RedactText of
// a URL that ParseURL refuses.
func Redacted(url string) string {
	u, err := ParseURL(url)
	if err != nil {
		return RedactText(url)
	}
	return u.Redacted()
}

const redacted = "REDACTED"

// harmless are the options whose values may be shown.
var harmless = map[string]bool{
	"region": true, "endpoint": true, "use_path_style": true, "s3forcepathstyle": true,
	"hostname_immutable": true, "disable_https": true, "accelerate": true, "dualstack": true,
	"fips": true, "anonymous": true, "universe_domain": true, "storage_account": true,
	"domain": true, "protocol": true, "cdn": true, "localemu": true,
}

// redactQuery keeps the values of harmless options, and the names of all others. A name
// without a value may itself be a secret, which ends in "=" if it is in base64.
func redactQuery(query string) string {
	if query == "" {
		return ""
	}
	parts := strings.Split(query, "&")
	for i, part := range parts {
		name, value, _ := strings.Cut(part, "=")
		switch known := harmless[strings.ToLower(name)]; {
		case known && !hasSecret(value), part == "":
		case strings.Trim(value, "=") == "":
			parts[i] = redacted
		default:
			parts[i] = name + "=" + redacted
		}
	}
	return strings.Join(parts, "&")
}

// hasSecret reports whether the value of a harmless option could contain a secret, as an
// address can: credentials before a host, or options of its own, even after a ";", which some
// programs treat as "&". Doubly encoded values are not examined.
func hasSecret(value string) bool {
	value = strings.ToLower(value)
	for _, sign := range []string{"@", "?", ";", "%40", "%3f", "%3b", "%25"} {
		if strings.Contains(value, sign) {
			return true
		}
	}
	return false
}

// schemeOf matches what precedes a host: a scheme, with any number of slashes.
var schemeOf = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*:/*`)

// port matches what may follow a host.
var port = regexp.MustCompile(`^:[0-9]*$`)

// RedactText makes text that should be a URL, but may not be one, fit for messages: it removes
// anything that could be credentials or the value of a secret option.
func RedactText(text string) string {
	rest, query, found := strings.Cut(text, "?")
	scheme := schemeOf.FindString(rest)
	host, _, _ := strings.Cut(rest[len(scheme):], "/")
	colon, at := strings.IndexByte(host, ':'), strings.LastIndexByte(rest, '@') // a secret may contain a slash
	switch {
	case at >= len(scheme) && strings.ContainsAny(host, "@:") && (scheme != "" || colon >= 0):
		rest = scheme + redacted + rest[at:]
	case colon >= 0 && !port.MatchString(host[colon:]):
		end := len(scheme) + len(host)
		rest = rest[:len(scheme)+colon+1] + redacted + rest[end:]
	}
	if found {
		rest += "?" + redactQuery(query)
	}
	return rest
}
