package template

import (
	"errors"
	"os"
	"strings"
	"testing"

	sdk "go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/workflow"

	"github.com/workdir/workdir/store"
)

var sampleInfo = &sdk.Info{
	WorkflowExecution: workflow.Execution{ID: "wf-1", RunID: "run-1"},
	WorkflowType:      &workflow.Type{Name: "Pipeline"},
	Namespace:         "prod",
	ActivityID:        "5",
	ActivityRunID:     "",
	ActivityType:      sdk.Type{Name: "Build"},
	Attempt:           3,
	TaskQueue:         "builders",
}

func TestTemplate(t *testing.T) {
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, in string
		vars     map[string]string
		want     string
	}{
		{"plain", "s3://b/jobs/job-1", nil, "s3://b/jobs/job-1"},
		{"slashes at the end", "s3a://b/jobs/job-1///", nil, "s3://b/jobs/job-1"},
		{"one variable", "s3://b/{workflow_id}", nil, "s3://b/wf-1"},
		{"all of them", "s3://b/{workflow_id}/{workflow_run_id}/{workflow_type}/{workflow_namespace}/{namespace}/{activity_id}/{activity_type}/{attempt}/{task_queue}", nil,
			"s3://b/wf-1/run-1/Pipeline/prod/prod/5/Build/3/builders"},
		{"a missing one gives nothing", "s3://b/x{activity_run_id}y", nil, "s3://b/xy"},
		{"within a segment", "s3://b/a-{workflow_id}-{attempt}.d", nil, "s3://b/a-wf-1-3.d"},
		{"options", "s3://b/{workflow_id}?region=eu-1", nil, "s3://b/wf-1?region=eu-1"},
		{"file", "file:///srv/{workflow_id}", nil, "file:///srv/wf-1"},
		{"path", "/srv/{workflow_id}", nil, "file:///srv/wf-1"},
		{"relative path", "./ws/{workflow_id}", nil, "file://" + wd + "/ws/wf-1"},
		{"relative path of one name", "{workflow_id}", nil, "file://" + wd + "/wf-1"},
		{"azure", "abfs://c@acc.dfs.core.windows.net/{workflow_id}", nil, "azblob://c/wf-1?storage_account=acc"},
		{"own variable", "s3://b/{customer}", map[string]string{"customer": "c7"}, "s3://b/c7"},
		{"own instead of the activity's", "s3://b/{attempt}", map[string]string{"attempt": "all"}, "s3://b/all"},
		{"several segments", "s3://b/{x...}/y", map[string]string{"x": "a/b"}, "s3://b/a/b/y"},
		{"several segments within one", "s3://b/x-{x...}-x/y", map[string]string{"x": "a/b"}, "s3://b/x-a/b-x/y"},
		{"several segments twice", "s3://b/{x...}/{x...}", map[string]string{"x": "a/b"}, "s3://b/a/b/a/b"},
		{"several segments and one", "s3://b/{x...}/{workflow_id}", map[string]string{"x": "a/b"}, "s3://b/a/b/wf-1"},
		{"expanded once", "s3://b/{x}", map[string]string{"x": "x{task_queue}"}, "s3://b/x{task_queue}"},
		{"doubled braces", "s3://b/{{{x}}}", map[string]string{"x": "v"}, "s3://b/{v}"},
		{"doubled braces alone", "s3://b/{{x}}", nil, "s3://b/{x}"},
		{"not decoded", "s3://b/{x}", map[string]string{"x": "a%20b %zz"}, "s3://b/a%20b %zz"},
		{"dots within", "s3://b/{x}", map[string]string{"x": "..a.b."}, "s3://b/..a.b."},
		{"empty segment of the user", "s3://b/a//{x}", map[string]string{"x": "v"}, "s3://b/a//v"},
		{"a colon", "mem://b/{x}", map[string]string{"x": "a:b"}, "mem://b/a:b"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			tmpl, err := Parse(test.in)
			if err != nil {
				t.Fatal(err)
			}
			values := Values(sampleInfo)
			for k, v := range test.vars {
				values[k] = v
			}
			u, err := tmpl.Expand(values)
			if err != nil {
				t.Fatal(err)
			}
			if u.String() != test.want {
				t.Errorf("got %q, want %q", u, test.want)
			}
		})
	}
}

func TestTemplateRefused(t *testing.T) {
	tests := []struct {
		name, in string
		want     []string // in the text
	}{
		{"unknown variable", "s3://b/{workflow}", []string{"{workflow}", "activity_id, activity_run_id", "workflow_type"}},
		{"scheme", "{x}://b/k", []string{"scheme"}},
		{"bucket", "s3://{x}/k", []string{"bucket"}},
		{"bucket in part", "s3://b-{attempt}/k", []string{"bucket"}},
		{"account", "abfs://c@{x}.dfs.core.windows.net/k", []string{"bucket"}},
		{"options", "s3://b/k?region={x}", []string{"options"}},
		{"open brace", "s3://b/{workflow_id", []string{"not closed"}},
		{"across a slash", "s3://b/{workflow/id}", []string{"not closed"}},
		{"close brace", "s3://b/workflow_id}", []string{"single"}},
		{"no name", "s3://b/{}", []string{"no variable"}},
		{"position", "s3://b/{0}", []string{"no variable"}},
		{"conversion", "s3://b/{attempt!r}", []string{"no variable"}},
		{"format", "s3://b/{attempt:03}", []string{"no variable"}},
		{"attribute", "s3://b/{a.b}", []string{"no variable"}},
		{"no key", "s3://b", []string{"no key"}},
		{"unknown scheme", "ftp://b/{attempt}", []string{"unknown scheme"}},
		{"empty", "", []string{"empty"}},
		{"climbing", "s3://b/../{attempt}", []string{`".."`}},
		{"several segments twice", "s3://b/{workflow_id...}/{activity_id...}", []string{"{workflow_id...} and {activity_id...}", "same key"}},
		{"dots alone", "s3://b/{...}", []string{"no variable"}},
		{"two dots", "s3://b/{workflow_id..}", []string{"no variable"}},
		{"a driver that is not linked", "gs://b/{workflow_id}", []string{"driver for gs", `import _ "github.com/workdir/workdir/store/drivers/gs"`}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := Check(test.in)
			if !errors.Is(err, store.ErrURL) {
				t.Fatalf("error is %v, want store.ErrURL", err)
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in %q", want, err)
				}
			}
		})
	}
	if err := Check("s3://b/{workflow_id}/{customer}", "customer"); err != nil {
		t.Error(err)
	}
}

func TestTemplateShowsNoSecret(t *testing.T) {
	for _, url := range []string{
		"s3://b/{x?secret=hunter2",
		"s3://user:hunter2@{b}/k",
	} {
		if err := Check(url); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", url, err)
		}
	}
}

func TestTemplateRefusesValue(t *testing.T) {
	tests := []struct{ name, in, value, want string }{
		{"empty", "s3://b/{x}", "", "empty segment"},
		{"empty in the middle", "s3://b/a/{x}/b", "", "empty segment"},
		{"a slash", "s3://b/{x}", "a/b", "write {x...}"},
		{"a slash within a segment", "s3://b/a{x}.d/y", "a/b", "write {x...}"},
		{"slash at the end", "s3://b/{x...}", "a/", "empty segment"},
		{"slash at the beginning", "file:///srv/{x...}", "/etc", "empty segment"},
		{"two slashes", "s3://b/{x...}", "a//b", "empty segment"},
		{"climbing", "s3://b/{x...}", "../up", `".."`},
		{"climbing within", "s3://b/{x...}", "a/../b", `".."`},
		{"climbing in one segment", "s3://b/{x}", "..", `".."`},
		{"dot", "s3://b/{x}", ".", `"."`},
		{"made of two", "s3://b/.{x}", ".", `".."`},
		{"control character", "s3://b/{x}", "a\nb", "control character"},
		{"NUL", "s3://b/{x}", "a\x00b", "control character"},
		{"fragment", "s3://b/{x}", "x#1", `"#"`},
		{"options", "s3://b/{x}", "k?endpoint=evil", `"?"`},
		{"no UTF-8", "s3://b/{x}", "a\xffb", "UTF-8"},
		{"backslash on Azure", "azblob://c/{x}", `a\b`, `"\"`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			tmpl, err := Parse(test.in)
			if err != nil {
				t.Fatal(err)
			}
			u, err := tmpl.Expand(map[string]string{"x": test.value})
			if !errors.Is(err, store.ErrURL) {
				t.Fatalf("got %v and error %v, want store.ErrURL", u, err)
			}
			for _, want := range []string{"{x", test.want} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in %q", want, err)
				}
			}
		})
	}
}

func TestTemplateWithoutAValue(t *testing.T) {
	tmpl, err := Parse("s3://b/{nobody}")
	if err != nil {
		t.Fatal(err)
	}
	_, err = tmpl.Expand(map[string]string{"somebody": "x"})
	if !errors.Is(err, store.ErrURL) || !strings.Contains(err.Error(), "{nobody}; the known ones are somebody") {
		t.Errorf("error is %v", err)
	}
}

// A value with a slash once made the key of other values: two tenants had one
// workspace.
func TestTemplateKeysDiffer(t *testing.T) {
	for _, raw := range []string{"s3://b/{x}/{y}", "s3://b/{x...}/{y}", "s3://b/{x}/{y...}"} {
		tmpl, err := Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		one, err1 := tmpl.Expand(map[string]string{"x": "a", "y": "x/y"})
		two, err2 := tmpl.Expand(map[string]string{"x": "a/x", "y": "y"})
		if err1 == nil && err2 == nil {
			t.Errorf("%s: %s and %s are both accepted", raw, one, two)
		}
	}
}

// Whatever the values are, the workspace stays in the bucket that the template
// names, and a store reads the URL as it was meant.
func FuzzTemplate(f *testing.F) {
	f.Add("s3://b/{x}/{y}", "v", "w/z")
	f.Add("s3://b/{x...}/{y}", "v/w", "z")
	f.Add("file:///srv/{{{x}}}.d", "../..", "{y}")
	f.Add("./{x}{y}", ".", ".")
	f.Add("abfs://c@acc.dfs.core.windows.net/{x}?sas=1", `a\b`, "?")
	f.Fuzz(func(t *testing.T, raw, x, y string) {
		tmpl, err := Parse(raw)
		if err != nil {
			if !errors.Is(err, store.ErrURL) {
				t.Fatalf("error is %v", err)
			}
			return
		}
		u, err := tmpl.Expand(map[string]string{"x": x, "y": y})
		if err != nil {
			if !errors.Is(err, store.ErrURL) {
				t.Fatalf("error is %v", err)
			}
			return
		}
		read, err := store.ParseURL(u.String())
		if err != nil || read != u {
			t.Fatalf("%q is read as %q, %v", u, read, err)
		}
		if u.Scheme != tmpl.url.Scheme || u.Bucket != tmpl.url.Bucket || u.Query != tmpl.url.Query {
			t.Fatalf("%q left the place of %q", u, raw)
		}
		if len(tmpl.names()) == 0 {
			return
		}
		if n := strings.Count(u.Key, "/") - strings.Count(tmpl.url.Key, "/") + 1; n != len(tmpl.segments) && !strings.Contains(raw, "...}") {
			t.Fatalf("%q has %d segments for those of %q", u, n, raw)
		}
		for s := range strings.SplitSeq(u.Key, "/") {
			if s == "." || s == ".." {
				t.Fatalf("%q has the segment %q", u, s)
			}
		}
	})
}
