package gs

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/workdir/workdir/store"
)

func TestNames(t *testing.T) {
	b, _ := backendAt(t, func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		if q.Get("prefix") != "jobs/a" || q.Get("delimiter") != "/" || q.Get("maxResults") != "7" || q.Get("pageToken") != "" {
			t.Errorf("the request is %s", r.URL)
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"prefixes":["jobs/ab/"],"items":[{"name":"jobs/a.tar.gz"}]}`)
	})
	got, err := b.Names(t.Context(), "jobs/a", 7)
	noError(t, err)
	if slices.Sort(got); !slices.Equal(got, []string{"jobs/a.tar.gz", "jobs/ab/"}) {
		t.Errorf("names %q", got)
	}
}

// settings gives the checks of a bucket, by name; bucket is what the server tells of
// it.
func settings(t *testing.T, bucket string) map[string]store.Check {
	t.Helper()
	b, _ := backendAt(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, bucket)
	})
	checks := map[string]store.Check{}
	for _, c := range b.Settings(t.Context(), "jobs/a.tar.gz") {
		checks[c.Name] = c
	}
	return checks
}

func TestSettings(t *testing.T) {
	rule := func(condition string) string {
		return `{"lifecycle":{"rule":[{"action":{"type":"Delete"},"condition":{` + condition + `}}]},"versioning":{"enabled":true}}`
	}
	tests := []struct {
		name, bucket, check string
		status              store.CheckStatus
		detail              string
	}{
		{"location", `{"location":"EU","locationType":"multi-region","storageClass":"STANDARD"}`, "location", store.CheckOK, "EU multi-region, class STANDARD"},
		{"plain", `{}`, "versioning", store.CheckOK, "off"},
		{"plain", `{}`, "expiry", store.CheckOK, "no rule"},
		{"plain", `{}`, "retention", store.CheckOK, "at any time"},
		{"versions for ever", `{"versioning":{"enabled":true}}`, "versioning", store.CheckWarn, "for ever"},
		{"versions for a time", rule(`"daysSinceNoncurrentTime":7`), "versioning", store.CheckOK, "until a rule"},
		{"versions by number", rule(`"numNewerVersions":3`), "expiry", store.CheckOK, "no rule"},
		{"old ones alone", rule(`"age":7,"isLive":false`), "expiry", store.CheckOK, "no rule"},
		{"archives expire", rule(`"age":7`), "expiry", store.CheckWarn, "removes archives"},
		{"archives expire", rule(`"age":7`), "versioning", store.CheckWarn, "for ever"},
		{"others expire", rule(`"age":7,"matchesPrefix":["tmp/"]`), "expiry", store.CheckOK, "no rule"},
		{"these expire", rule(`"age":7,"matchesPrefix":["tmp/","jobs/"],"matchesSuffix":[".gz"]`), "expiry", store.CheckWarn, "removes archives"},
		{"others by suffix", rule(`"age":7,"matchesSuffix":[".txt"]`), "expiry", store.CheckOK, "no rule"},
		{"soft delete", `{"softDeletePolicy":{"retentionDurationSeconds":"604800"}}`, "soft delete", store.CheckOK, "7 days"},
		{"no soft delete", `{"softDeletePolicy":{"retentionDurationSeconds":"0"}}`, "soft delete", store.CheckOK, "off"},
		{"retention", `{"retentionPolicy":{"retentionPeriod":"3600","effectiveTime":"2026-01-01T00:00:00Z"}}`, "retention", store.CheckFail, "within 1h0m0s"},
		{"hold", `{"defaultEventBasedHold":true}`, "retention", store.CheckFail, "held"},
	}
	for _, tt := range tests {
		t.Run(tt.name+" "+tt.check, func(t *testing.T) {
			c := settings(t, tt.bucket)[tt.check]
			if c.Status != tt.status || !strings.Contains(c.Detail, tt.detail) || (c.Status != store.CheckOK) != (c.Fix != "") {
				t.Errorf("%+v", c)
			}
		})
	}
}

func TestSettingsDenied(t *testing.T) {
	b, _ := backendAt(t, func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, http.StatusForbidden, "forbidden", "no storage.buckets.get")
	})
	got := b.Settings(t.Context(), "a.tar.gz")
	if len(got) != 1 || got[0].Status != store.CheckSkip || !strings.Contains(got[0].Fix, "storage.buckets.get") {
		t.Errorf("checks %+v", got)
	}
}

func TestCredentialsTellTheirSource(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("CLOUDSDK_CONFIG", dir)
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", "")
	if got := credentialSource(); !strings.Contains(got, "metadata server") {
		t.Errorf("without a file: %s", got)
	}
	file := filepath.Join(dir, "application_default_credentials.json")
	noError(t, os.WriteFile(file, []byte("{}"), 0o600))
	if got := credentialSource(); got != "gcloud's file "+file {
		t.Errorf("with gcloud's file: %s", got)
	}
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", "/etc/key.json")
	if got := credentialSource(); !strings.HasPrefix(got, "the file /etc/key.json") {
		t.Errorf("with the variable: %s", got)
	}
}

func TestCredentialsCheck(t *testing.T) {
	b, _ := testBackend(t, config{anonymous: true})
	if c := b.Credentials(t.Context()); c.Status != store.CheckOK || !strings.Contains(c.Detail, "anonymous") {
		t.Errorf("anonymous: %+v", c)
	}
	t.Setenv(emulator, "127.0.0.1:1")
	b, _ = testBackend(t, config{})
	if c := b.Credentials(t.Context()); c.Status != store.CheckOK || !strings.Contains(c.Detail, emulator) {
		t.Errorf("with an emulator: %+v", c)
	}
	t.Setenv(emulator, "")
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", filepath.Join(t.TempDir(), "none.json"))
	b, _ = testBackend(t, config{})
	if c := b.Credentials(t.Context()); c.Status != store.CheckFail || c.Fix == "" {
		t.Errorf("without the file: %+v", c)
	}
}
