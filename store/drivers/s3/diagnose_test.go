package s3

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/workdir/workdir/store"
)

// source gives credentials that say where they come from.
type source struct {
	found aws.Credentials
	err   error
}

func (s source) Retrieve(context.Context) (aws.Credentials, error) { return s.found, s.err }

var static = source{found: aws.Credentials{AccessKeyID: "ann", SecretAccessKey: "hidden", Source: "TheTest"}}

// told gives the backend of a bucket "bkt" whose server answers so to the query
// parameters that name a question ("versioning"), and has nothing else.
func told(t *testing.T, credentials aws.CredentialsProvider, answers map[string]string) *backend {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/xml")
		for question, answer := range answers {
			if r.URL.Query().Has(question) {
				fmt.Fprint(w, answer)
				return
			}
		}
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `<Error><Code>NoSuchLifecycleConfiguration</Code></Error>`)
	}))
	t.Cleanup(server.Close)
	client := awss3.New(awss3.Options{Region: "eu-west-1", BaseEndpoint: &server.URL, UsePathStyle: true, Credentials: credentials})
	return newBackend(client.Options(), "bkt", Options{})
}

func TestNames(t *testing.T) {
	b := told(t, static, map[string]string{"list-type": `<ListBucketResult><Contents><Key>jobs/a.tar.gz</Key><LastModified>2026-11-23T12:00:00.000Z</LastModified></Contents><CommonPrefixes><Prefix>jobs/ab/</Prefix></CommonPrefixes></ListBucketResult>`})
	got, err := b.Names(t.Context(), "jobs/a", 7)
	if want := []string{"jobs/a.tar.gz", "jobs/ab/"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("names %q, %v", got, err)
	}
	if _, err := told(t, static, nil).Names(t.Context(), "", 7); err == nil {
		t.Error("no error of a bucket that is not there")
	}
}

func TestSettings(t *testing.T) {
	const versioned = `<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>`
	rules := func(rules ...string) string {
		return "<LifecycleConfiguration>" + strings.Join(rules, "") + "</LifecycleConfiguration>"
	}
	rule := func(prefix, action string) string {
		return `<Rule><ID>r</ID><Status>Enabled</Status><Filter><Prefix>` + prefix + `</Prefix></Filter>` + action + `</Rule>`
	}
	const (
		abort   = `<AbortIncompleteMultipartUpload><DaysAfterInitiation>7</DaysAfterInitiation></AbortIncompleteMultipartUpload>`
		old     = `<NoncurrentVersionExpiration><NoncurrentDays>7</NoncurrentDays></NoncurrentVersionExpiration>`
		expire  = `<Expiration><Days>7</Days></Expiration>`
		markers = `<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>`
	)
	upload := func(begun time.Time) string {
		return `<ListMultipartUploadsResult><Upload><Key>jobs/a.tar.gz</Key><UploadId>u</UploadId><Initiated>` + begun.UTC().Format(time.RFC3339) + `</Initiated></Upload></ListMultipartUploadsResult>`
	}
	tests := []struct {
		name, check, versioning, lifecycle, uploads string
		status                                      store.CheckStatus
		detail                                      string
	}{
		{"not versioned", "versioning", `<VersioningConfiguration/>`, "", "", store.CheckOK, "off"},
		{"suspended", "versioning", `<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>`, "", "", store.CheckOK, "off"},
		{"for ever", "versioning", versioned, "", "", store.CheckWarn, "for ever"},
		{"for a time", "versioning", versioned, rules(rule("jobs/", old)), "", store.CheckOK, "until a rule"},
		{"for a time elsewhere", "versioning", versioned, rules(rule("tmp/", old)), "", store.CheckWarn, "for ever"},
		{"no rule", "lifecycle", versioned, "", "", store.CheckWarn, "no rule removes the parts"},
		{"the rule", "lifecycle", versioned, rules(rule("tmp/", abort), rule("", abort)), "", store.CheckOK, "after 7 days"},
		{"a rule that is off", "lifecycle", versioned, rules(strings.Replace(rule("", abort), "Enabled", "Disabled", 1)), "", store.CheckWarn, "no rule"},
		{"an old form of rule", "lifecycle", versioned, rules(`<Rule><Status>Enabled</Status><Prefix>tmp/</Prefix>` + abort + `</Rule>`), "", store.CheckWarn, "no rule"},
		{"a rule with more conditions", "lifecycle", versioned, rules(`<Rule><Status>Enabled</Status><Filter><And><Prefix>jobs/</Prefix><ObjectSizeGreaterThan>1</ObjectSizeGreaterThan></And></Filter>` + abort + `</Rule>`), "", store.CheckOK, "7 days"},
		{"archives expire", "expiry", versioned, rules(rule("jobs/", expire)), "", store.CheckWarn, `"r" removes archives`},
		{"markers expire", "expiry", versioned, rules(rule("jobs/", markers)), "", store.CheckOK, "no rule"},
		{"uploads now", "incomplete uploads", versioned, "", upload(time.Now()), store.CheckOK, "none"},
		{"uploads left", "incomplete uploads", versioned, "", upload(time.Now().AddDate(0, 0, -2)), store.CheckWarn, "1 are older"},
		{"no answer", "incomplete uploads", versioned, "", "", store.CheckSkip, "could not look"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			answers := map[string]string{}
			for question, answer := range map[string]string{"versioning": tt.versioning, "lifecycle": tt.lifecycle, "uploads": tt.uploads} {
				if answer != "" {
					answers[question] = answer
				}
			}
			checks := map[string]store.Check{}
			for _, c := range told(t, static, answers).Settings(t.Context(), "jobs/.workdir-doctor-0/trial.tar.gz") {
				checks[c.Name] = c
			}
			if c := checks[tt.check]; c.Status != tt.status || !strings.Contains(c.Detail, tt.detail) || (c.Status == store.CheckWarn) != (c.Fix != "") {
				t.Errorf("%+v", c)
			}
		})
	}
}

func TestCredentials(t *testing.T) {
	soon := static
	soon.found.CanExpire, soon.found.Expires = true, time.Now().Add(90*time.Minute)
	tests := []struct {
		name   string
		from   aws.CredentialsProvider
		status store.CheckStatus
		detail string
	}{
		{"for good", static, store.CheckOK, "found by TheTest"},
		{"for a time", soon, store.CheckOK, "found by TheTest, good for another 1h30m0s"},
		{"none asked for", aws.AnonymousCredentials{}, store.CheckOK, "anonymous"},
		{"none", source{err: errors.New("nothing\nto be found")}, store.CheckFail, "nothing to be found"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := told(t, tt.from, nil).Credentials(t.Context())
			if c.Status != tt.status || !strings.Contains(c.Detail, tt.detail) || (c.Status == store.CheckFail) != (c.Fix != "") {
				t.Errorf("%+v", c)
			}
			if strings.Contains(c.Detail+c.Fix, "hidden") || strings.Contains(c.Detail, "ann") {
				t.Errorf("a secret is shown: %+v", c)
			}
		})
	}
}

func TestPlace(t *testing.T) {
	b := told(t, static, nil)
	if got := b.Place(); got != "region eu-west-1, endpoint "+b.endpoint {
		t.Errorf("place %q", got)
	}
	b.endpoint = ""
	if got := b.Place(); got != "region eu-west-1" {
		t.Errorf("place %q", got)
	}
}
