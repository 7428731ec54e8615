package stores

import (
	"encoding/json"
	"io"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/workdir/workdir/doctor"
)

// doctor returns the checks of a store that doctor makes, and its exit code.
func (d *desk) doctor(args ...string) (checks []doctor.Check, code int) {
	d.t.Helper()
	stdout, stderr, code := d.run(d.command(append([]string{"doctor", "--json"}, args...)...))
	var found struct{ Store []doctor.Check }
	if err := json.Unmarshal([]byte(stdout), &found); err != nil {
		d.t.Fatalf("doctor %q: %v: %s%s", args, err, stdout, stderr)
	}
	if strings.Contains(stdout+stderr, s3Secret) || strings.Contains(stdout+stderr, azureKey) {
		d.t.Errorf("a secret is shown: %s%s", stdout, stderr)
	}
	return found.Store, code
}

// Every store that we have passes, and nothing is left in it.
func TestDoctor(t *testing.T) {
	onEachPlace(t, func(t *testing.T, url func(string) string) {
		d := newDesk(t)
		d.exec(url("jobs/a"), "echo x >file")
		checks, code := d.doctor(url("jobs/a"))
		if code != 0 {
			t.Errorf("exit code %d", code)
		}
		for _, c := range checks {
			if c.Status == doctor.Fail || c.Status == doctor.Warn {
				t.Errorf("%+v", c)
			}
		}
		for _, name := range []string{"workspace", "create again", "race of two", "parts stale", "replaced in read", "delete stale", "left behind"} {
			if !slices.ContainsFunc(checks, func(c doctor.Check) bool { return c.Name == name && c.Status == doctor.OK }) {
				t.Errorf("%s is not ok in %+v", name, checks)
			}
		}
		if got := d.must(d.command("ls", url("jobs"))); got != "a\n" {
			t.Errorf("ls printed %q", got)
		}
		d.must(d.command("rm", url("jobs/a")))
	})
}

// A bucket that is not there is told once, with what to do, and nothing else is tried.
func TestDoctorWithoutBucket(t *testing.T) {
	onEach(t, func(t *testing.T, s *Server) {
		checks, code := newDesk(t).doctor("--quick", s.URL("b-that-is-not-there", "jobs/a"))
		if code != 101 {
			t.Errorf("exit code %d, want 101", code)
		}
		var failed []doctor.Check
		for _, c := range checks {
			if c.Status == doctor.Fail {
				failed = append(failed, c)
			}
		}
		if len(failed) != 1 || failed[0].Name != "bucket" || failed[0].Fix == "" {
			t.Errorf("failed: %+v", failed)
		}
	})
}

// Ctrl-C at any check leaves nothing in the bucket.
func TestDoctorInterrupted(t *testing.T) {
	onEach(t, func(t *testing.T, s *Server) {
		bucket, d := newBucket(t, s), newDesk(t)
		for _, line := range []string{"create again", "race of two", "clock", "parts", "replaced in read"} {
			cmd := d.command("doctor", s.URL(bucket, "jobs/a"))
			out, err := cmd.StdoutPipe()
			noError(t, err)
			noError(t, cmd.Start())
			waitFor(t, out, " "+line+" ")
			noError(t, cmd.Process.Signal(syscall.SIGINT))
			_, err = io.Copy(io.Discard, out)
			noError(t, err)
			_ = cmd.Wait() // the exit code tells
			if code := exitCode(cmd); code != 130 && code != 0 {
				t.Errorf("after %q: exit code %d", line, code)
			}
			left, err := s.client.names(t.Context(), bucket)
			noError(t, err)
			if left = append(left, litter(t, s, bucket)...); len(left) > 0 {
				t.Errorf("after %q: left %q", line, left)
			}
		}
	})
}

// waitFor reads until text has come.
func waitFor(t *testing.T, r io.Reader, text string) {
	t.Helper()
	seen, p := "", make([]byte, 1)
	for !strings.Contains(seen, text) {
		if _, err := r.Read(p); err != nil {
			t.Fatalf("no %q in %q: %v", text, seen, err)
		}
		seen += string(p)
	}
}

// A shell is told the names in a bucket, level by level, and keeps the options.
func TestCompletion(t *testing.T) {
	onEachPlace(t, func(t *testing.T, url func(string) string) {
		d := newDesk(t)
		keys := []string{"jobs/a", "jobs/a/deeper", "jobs/b b"}
		for _, key := range keys {
			d.exec(url(key), "echo x >file")
		}
		for start, want := range map[string][]string{
			"jobs/":   {url("jobs/a"), url("jobs/a/"), url("jobs/b b")},
			"jobs/b":  {url("jobs/b b")},
			"jo":      {url("jobs/")},
			"nothing": nil,
		} {
			got := strings.Split(strings.TrimSpace(d.must(d.command("__complete", "ls", url(start)))), "\n")
			got = got[:len(got)-1] // the directive for the shell
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("%q goes on as %q, want %q", start, got, want)
			}
		}
		for _, key := range keys {
			d.must(d.command("rm", url(key)))
		}
	})
}
