package gs

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cloud.google.com/go/storage"
	"google.golang.org/api/option"

	"github.com/workdir/workdir/doctor"
)

// at returns a bucket whose server answers so.
func at(t *testing.T, answer http.HandlerFunc) *doctor.Bucket {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	client, err := storage.NewClient(t.Context(), option.WithoutAuthentication(), option.WithEndpoint(server.URL+"/storage/v1/"))
	if err != nil {
		t.Fatal(err)
	}
	return Bucket(func(context.Context) (*storage.BucketHandle, error) { return client.Bucket("bkt"), nil }, "", "")
}

// unseen is a check that says why it was not made.
func unseen(check, permission string, err error) doctor.Check {
	return doctor.Check{Name: check, Status: doctor.Skip, Detail: err.Error(), Fix: permission}
}

// ask returns the checks of a bucket, by name; bucket is what the server tells of
// it.
func ask(t *testing.T, bucket string) map[string]doctor.Check {
	t.Helper()
	b := at(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, bucket)
	})
	checks := map[string]doctor.Check{}
	for _, c := range b.Settings(t.Context(), "jobs/a.tar.gz", unseen) {
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
		status              doctor.Status
		detail              string
	}{
		{"location", `{"location":"EU","locationType":"multi-region","storageClass":"STANDARD"}`, "location", doctor.OK, "EU multi-region, class STANDARD"},
		{"plain", `{}`, "versioning", doctor.OK, "off"},
		{"plain", `{}`, "expiry", doctor.OK, "no rule"},
		{"plain", `{}`, "retention", doctor.OK, "at any time"},
		{"versions for ever", `{"versioning":{"enabled":true}}`, "versioning", doctor.Warn, "for ever"},
		{"versions for a time", rule(`"daysSinceNoncurrentTime":7`), "versioning", doctor.OK, "until a rule"},
		{"versions by number", rule(`"numNewerVersions":3`), "expiry", doctor.OK, "no rule"},
		{"old ones alone", rule(`"age":7,"isLive":false`), "expiry", doctor.OK, "no rule"},
		{"archives expire", rule(`"age":7`), "expiry", doctor.Warn, "removes archives"},
		{"archives expire", rule(`"age":7`), "versioning", doctor.Warn, "for ever"},
		{"others expire", rule(`"age":7,"matchesPrefix":["tmp/"]`), "expiry", doctor.OK, "no rule"},
		{"these expire", rule(`"age":7,"matchesPrefix":["tmp/","jobs/"],"matchesSuffix":[".gz"]`), "expiry", doctor.Warn, "removes archives"},
		{"others by suffix", rule(`"age":7,"matchesSuffix":[".txt"]`), "expiry", doctor.OK, "no rule"},
		{"soft delete", `{"softDeletePolicy":{"retentionDurationSeconds":"604800"}}`, "soft delete", doctor.OK, "7 days"},
		{"no soft delete", `{"softDeletePolicy":{"retentionDurationSeconds":"0"}}`, "soft delete", doctor.OK, "off"},
		{"retention", `{"retentionPolicy":{"retentionPeriod":"3600","effectiveTime":"2026-01-01T00:00:00Z"}}`, "retention", doctor.Fail, "within 1h0m0s"},
		{"hold", `{"defaultEventBasedHold":true}`, "retention", doctor.Fail, "held"},
	}
	for _, tt := range tests {
		t.Run(tt.name+" "+tt.check, func(t *testing.T) {
			c := ask(t, tt.bucket)[tt.check]
			if c.Status != tt.status || !strings.Contains(c.Detail, tt.detail) || (c.Status != doctor.OK) != (c.Fix != "") {
				t.Errorf("%+v", c)
			}
		})
	}
}

func TestSettingsDenied(t *testing.T) {
	b := at(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) })
	got := b.Settings(t.Context(), "a.tar.gz", unseen)
	if len(got) != 1 || got[0].Status != doctor.Skip || !strings.Contains(got[0].Fix, "storage.buckets.get") {
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
	if err := os.WriteFile(file, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := credentialSource(); got != "gcloud's file "+file {
		t.Errorf("with gcloud's file: %s", got)
	}
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", "/etc/key.json")
	if got := credentialSource(); !strings.HasPrefix(got, "the file /etc/key.json") {
		t.Errorf("with the variable: %s", got)
	}
}

func TestCredentials(t *testing.T) {
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", "/etc/key.json")
	missing := errors.New("no such file")
	handle := func(context.Context) (*storage.BucketHandle, error) { return nil, missing }
	for source, want := range map[string]string{"": "those of the file /etc/key.json, which GOOGLE_APPLICATION_CREDENTIALS names", "none": "none"} {
		b := Bucket(handle, "example.com", source)
		if detail, err := b.Credentials(t.Context()); detail != want || err != missing {
			t.Errorf("source %q: %q, %v", source, detail, err)
		}
		if b.Place != "at example.com" {
			t.Errorf("place %q", b.Place)
		}
		if got := b.Settings(t.Context(), "a", unseen); len(got) != 1 || got[0].Detail != missing.Error() {
			t.Errorf("settings without credentials: %v", got)
		}
	}
}
