package stores

import (
	"bytes"
	"slices"
	"testing"
)

// The servers do what the tests take for granted, by the SDKs alone.
func TestServers(t *testing.T) {
	onEach(t, func(t *testing.T, s *Server) {
		bucket, content := newBucket(t, s), bytes.Repeat([]byte("content"), 1000)
		noError(t, s.client.put(t.Context(), bucket, "dir/name", content))
		got, err := s.client.get(t.Context(), bucket, "dir/name")
		noError(t, err)
		if !bytes.Equal(got, content) {
			t.Errorf("%d bytes came back, want %d", len(got), len(content))
		}
		if got := litter(t, s, bucket); !slices.Equal(got, []string{"dir/name"}) {
			t.Errorf("litter = %q", got)
		}
	})
}
