package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/workdir/workdir/mount"
	"github.com/workdir/workdir/store"
)

// The metrics of a mount are well formed, and have the names that docs/observability.md gives
// those of activities.
func TestMetricsOfAMount(t *testing.T) {
	o := &observed{scheme: "s3", mode: "rw", openTook: 1500 * time.Millisecond, status: func(context.Context) (mount.Status, error) {
		return mount.Status{State: "mounted", Bytes: 4096, Traffic: store.Traffic{
			"get": {Count: 3, Retries: 1, Received: 100}, "list": {Count: 1, Sent: 5},
		}}, nil
	}}
	code, body := get(t, o, "/metrics")
	if code != http.StatusOK {
		t.Fatal(code, body)
	}
	for _, want := range []string{
		`workdir_mounted{scheme="s3",mode="rw"} 1`, `workdir_memory{scheme="s3",mode="rw"} 4096`,
		`workdir_open_latency_seconds_sum{scheme="s3",mode="rw"} 1.5`,
		`workdir_requests_total{scheme="s3",mode="rw",operation="get"} 3`, `workdir_retries_total{scheme="s3",mode="rw",operation="get"} 1`,
		`workdir_bytes_received_total{scheme="s3",mode="rw"} 100`, `workdir_bytes_sent_total{scheme="s3",mode="rw"} 5`,
	} {
		if !strings.Contains(body, want+"\n") {
			t.Errorf("no %s in\n%s", want, body)
		}
	}
	promtool := exec.Command("../../build/tools/bin/promtool", "check", "metrics")
	promtool.Stdin = strings.NewReader(body)
	if out, err := promtool.CombinedOutput(); err != nil {
		t.Errorf("promtool: %v: %s", err, out)
	}
	documented, err := os.ReadFile("../../docs/observability.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range regexp.MustCompile(`(?m)^# TYPE (\w+)`).FindAllStringSubmatch(body, -1) {
		plain := strings.TrimSuffix(strings.TrimSuffix(name[1], "_total"), "_seconds")
		if !strings.Contains(string(documented), "`"+plain+"`") {
			t.Errorf("docs/observability.md does not know %s", plain)
		}
	}
}

func TestHealthOfAMount(t *testing.T) {
	for name, test := range map[string]struct {
		status mount.Status
		err    error
		code   int
		says   string
	}{
		"mounted":    {mount.Status{State: "mounted"}, nil, http.StatusOK, "mounted\n"},
		"unreadable": {mount.Status{State: "mounted", ReadError: "gone"}, nil, http.StatusServiceUnavailable, "the archive cannot be read: gone\n"},
		"lost":       {mount.Status{}, errors.New("no server"), http.StatusServiceUnavailable, "the mount does not answer: no server\n"},
	} {
		t.Run(name, func(t *testing.T) {
			o := &observed{scheme: "file", mode: "ro", status: func(context.Context) (mount.Status, error) { return test.status, test.err }}
			if code, body := get(t, o, "/healthz"); code != test.code || body != test.says {
				t.Errorf("%d %q, want %d %q", code, body, test.code, test.says)
			}
			want := `workdir_mounted{scheme="file",mode="ro"} 1`
			if test.err != nil {
				want = `workdir_mounted{scheme="file",mode="ro"} 0`
			}
			if _, body := get(t, o, "/metrics"); !strings.Contains(body, want) {
				t.Errorf("no %s in\n%s", want, body)
			}
		})
	}
}

func get(t *testing.T, o *observed, path string) (code int, body string) {
	t.Helper()
	server := httptest.NewServer(o.handler())
	defer server.Close()
	resp, err := http.Get(server.URL + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// The alert rules are rules, of metrics that are documented.
func TestAlertRules(t *testing.T) {
	const rules = "../../docs/prometheus-rules.yaml"
	if out, err := exec.Command("../../build/tools/bin/promtool", "check", "rules", rules).CombinedOutput(); err != nil {
		t.Errorf("promtool: %v: %s", err, out)
	}
	text, err := os.ReadFile(rules)
	if err != nil {
		t.Fatal(err)
	}
	documented, err := os.ReadFile("../../docs/observability.md")
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile(`\bworkdir_\w+`).FindAllString(string(text), -1)
	if len(names) < 5 {
		t.Errorf("%d metrics found in the rules", len(names))
	}
	for _, name := range names {
		if plain := strings.TrimSuffix(name, "_total"); !strings.Contains(string(documented), "`"+plain+"`") {
			t.Errorf("docs/observability.md does not know %s", plain)
		}
	}
}
