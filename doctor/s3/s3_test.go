package s3

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/workdir/workdir/doctor"
)

// source returns credentials that say where they come from.
type source struct {
	found aws.Credentials
	err   error
}

func (s source) Retrieve(context.Context) (aws.Credentials, error) { return s.found, s.err }

var static = source{found: aws.Credentials{AccessKeyID: "ann", SecretAccessKey: "hidden", Source: "TheTest"}}

// told returns a bucket whose server answers so to the query parameters that name a
// question ("versioning"), and has nothing else.
func told(t *testing.T, credentials aws.CredentialsProvider, answers map[string]string) *doctor.Bucket {
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
	return Bucket(client, "bkt")
}

// unseen is a check that says why it was not made.
func unseen(check, permission string, err error) doctor.Check {
	return doctor.Check{Name: check, Status: doctor.Skip, Detail: err.Error(), Fix: permission}
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
		status                                      doctor.Status
		detail                                      string
	}{
		{"not versioned", "versioning", `<VersioningConfiguration/>`, "", "", doctor.OK, "off"},
		{"suspended", "versioning", `<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>`, "", "", doctor.OK, "off"},
		{"for ever", "versioning", versioned, "", "", doctor.Warn, "for ever"},
		{"for a time", "versioning", versioned, rules(rule("jobs/", old)), "", doctor.OK, "until a rule"},
		{"for a time elsewhere", "versioning", versioned, rules(rule("tmp/", old)), "", doctor.Warn, "for ever"},
		{"no rule", "lifecycle", versioned, "", "", doctor.Warn, "no rule removes the parts"},
		{"the rule", "lifecycle", versioned, rules(rule("tmp/", abort), rule("", abort)), "", doctor.OK, "after 7 days"},
		{"a rule that is off", "lifecycle", versioned, rules(strings.Replace(rule("", abort), "Enabled", "Disabled", 1)), "", doctor.Warn, "no rule"},
		{"an old form of rule", "lifecycle", versioned, rules(`<Rule><Status>Enabled</Status><Prefix>tmp/</Prefix>` + abort + `</Rule>`), "", doctor.Warn, "no rule"},
		{"a rule with more conditions", "lifecycle", versioned, rules(`<Rule><Status>Enabled</Status><Filter><And><Prefix>jobs/</Prefix><ObjectSizeGreaterThan>1</ObjectSizeGreaterThan></And></Filter>` + abort + `</Rule>`), "", doctor.OK, "7 days"},
		{"archives expire", "expiry", versioned, rules(rule("jobs/", expire)), "", doctor.Warn, `"r" removes archives`},
		{"markers expire", "expiry", versioned, rules(rule("jobs/", markers)), "", doctor.OK, "no rule"},
		{"uploads now", "incomplete uploads", versioned, "", upload(time.Now()), doctor.OK, "none"},
		{"uploads left", "incomplete uploads", versioned, "", upload(time.Now().AddDate(0, 0, -2)), doctor.Warn, "1 are older"},
		{"no answer", "incomplete uploads", versioned, "", "", doctor.Skip, "NoSuchLifecycleConfiguration"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			answers := map[string]string{}
			for question, answer := range map[string]string{"versioning": tt.versioning, "lifecycle": tt.lifecycle, "uploads": tt.uploads} {
				if answer != "" {
					answers[question] = answer
				}
			}
			checks := map[string]doctor.Check{}
			for _, c := range told(t, static, answers).Settings(t.Context(), "jobs/.workdir-doctor-0/trial.tar.gz", unseen) {
				checks[c.Name] = c
			}
			if c := checks[tt.check]; c.Status != tt.status || !strings.Contains(c.Detail, tt.detail) || (c.Status == doctor.OK) == (c.Fix != "") {
				t.Errorf("%+v", c)
			}
		})
	}
}

func TestCredentials(t *testing.T) {
	soon := static
	soon.found.CanExpire, soon.found.Expires = true, time.Now().Add(90*time.Minute)
	missing := errors.New("nothing to be found")
	tests := []struct {
		name   string
		from   aws.CredentialsProvider
		detail string
		err    error
	}{
		{"for good", static, "found by TheTest", nil},
		{"for a time", soon, "found by TheTest, good for another 1h30m0s", nil},
		{"none asked for", aws.AnonymousCredentials{}, "none are used (anonymous): the bucket must be open to all", nil},
		{"none", source{err: missing}, "found by ", missing},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			detail, err := told(t, tt.from, nil).Credentials(t.Context())
			if detail != tt.detail || !errors.Is(err, tt.err) {
				t.Errorf("%q, %v", detail, err)
			}
		})
	}
}

func TestPlace(t *testing.T) {
	o := awss3.Options{Region: "eu-west-1"}
	if got := Bucket(awss3.New(o), "bkt").Place; got != "region eu-west-1" {
		t.Errorf("place %q", got)
	}
	o.BaseEndpoint = aws.String("http://127.0.0.1:9")
	if got := Bucket(awss3.New(o), "bkt").Place; got != "region eu-west-1, endpoint http://127.0.0.1:9" {
		t.Errorf("place %q", got)
	}
}
