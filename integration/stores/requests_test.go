package stores

import (
	"net/http"
	"slices"
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
