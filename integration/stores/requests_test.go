package stores

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// looks is how many requests bring the end of an archive: one where the cloud can be asked
// for it, else one for its size before.
func looks(s *Server) int {
	if s.Kind == S3 {
		return 1
	}
	return 2
}

// What an open and a commit cost in requests, on every cloud: a look at the end of the
// archive, and one. A process that commits to a bucket for the first time tries its
// conditions before, on a scratch object: four writes, a look and a removal.
func TestRequestCounts(t *testing.T) {
	type counts struct{ open, nothing, commit int }
	onEach(t, func(t *testing.T, s *Server) {
		bucket, d := newBucket(t, s), newDesk(t)
		d.exec(s.URL(bucket, "k"), "echo base >file")
		p, err := NewProxy(s, func(*http.Request) Fault { return None })
		noError(t, err)
		defer func() { noError(t, p.Close()) }()
		d.env = proxyEnv(s, p)
		cost := func(args ...string) int {
			before := p.Met()[None]
			d.must(d.command(append([]string{"exec", s.urlAt(p.Address, bucket, "k"), "--"}, args...)...))
			return p.Met()[None] - before
		}
		got := counts{open: cost("cat", "file"), nothing: cost("touch", "-c", "none"), commit: cost("sh", "-c", "echo new >file")}
		if want := (counts{open: looks(s), nothing: looks(s), commit: looks(s) + 6 + 1}); got != want {
			t.Errorf("requests = %+v, want %+v", got, want)
		}
	})
}

// What a commit replaces is kept by one request, by the cloud itself.
func TestKeepIsOneRequest(t *testing.T) {
	onEach(t, func(t *testing.T, s *Server) {
		bucket, d := newBucket(t, s), newDesk(t)
		p, err := NewProxy(s, func(*http.Request) Fault { return None })
		noError(t, err)
		defer func() { noError(t, p.Close()) }()
		d.env = proxyEnv(s, p)
		url := s.urlAt(p.Address, bucket, "dir/k")
		cost := func(args ...string) int {
			before := p.Met()[None]
			d.must(d.command(append(append([]string{"exec"}, args...), url, "--", "sh", "-c", "date +%N >>file")...))
			return p.Met()[None] - before
		}
		cost() // tries conditions
		if plain, kept := cost(), cost("--keep-last", "5"); plain != looks(s)+1 || kept != plain+1 {
			t.Errorf("a commit is %d requests, and one that keeps what it replaces %d", plain, kept)
		}
		log := d.must(d.command("log", url))
		if n := strings.Count(log, "kept, "); n != 1 {
			t.Errorf("%d versions are kept:\n%s", n, log)
		}
		id := regexp.MustCompile(`(?m)^.{19}  ([0-9a-f]+)  .*kept, `).FindStringSubmatch(log)
		if id == nil {
			t.Fatalf("no version has an id:\n%s", log)
		}
		d.must(d.command("rollback", url, id[1]))
		d.must(d.command("fork", strings.Replace(url, "dir/k", "dir/k@"+id[1], 1), strings.Replace(url, "dir/k", "dir/fork", 1)))
		if list := d.must(d.command("ls", "-r", strings.Replace(url, "dir/k", "dir", 1))); list != "fork\nk\n" {
			t.Errorf("the workspaces are %q", list)
		}
		d.must(d.command("diff", strings.Replace(url, "dir/k", "dir/fork", 1), url))
	})
}

// That a bucket honours conditions is known to the next process too: a commit is then as
// many requests as the documents say.
func TestConditionsRemembered(t *testing.T) {
	onEach(t, func(t *testing.T, s *Server) {
		bucket, d := newBucket(t, s), newDesk(t)
		d.exec(s.URL(bucket, "k"), "echo base >file")
		p, err := NewProxy(s, func(*http.Request) Fault { return None })
		noError(t, err)
		defer func() { noError(t, p.Close()) }()
		d.env = proxyEnv(s, p)
		var counts []int
		for range 3 {
			before := p.Met()[None]
			d.exec(s.urlAt(p.Address, bucket, "k"), "date +%N >>file")
			counts = append(counts, p.Met()[None]-before)
		}
		if want := []int{looks(s) + 6 + 1, looks(s) + 1, looks(s) + 1}; !slices.Equal(counts, want) {
			t.Errorf("requests of one commit after the other = %v, want %v", counts, want)
		}
	})
}
