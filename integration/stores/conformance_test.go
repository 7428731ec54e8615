package stores

import (
	"testing"

	"github.com/workdir/workdir/store"
	"github.com/workdir/workdir/store/storetest"
)

// lacks is what the servers cannot do that the clouds can.
var lacks = map[Kind]map[storetest.Ability]string{
	S3: {
		storetest.DeleteRaces:   "versitygw compares the revision of a delete outside of the lock under which it removes",
		storetest.EmptySegments: "versitygw keeps objects as files, whose paths have no empty segments",
	},
	GS: {
		storetest.DeleteRaces: "fake-gcs-server ignores the conditions of a delete",
	},
}

// Each driver keeps the contract of store.Store against a real server.
func TestConformance(t *testing.T) {
	onEach(t, func(t *testing.T, s *Server) {
		buckets := map[store.Store]string{}
		open := func(t *testing.T) store.Store {
			bucket := newBucket(t, s)
			opened, err := openURL(t.Context(), s.URL(bucket, ""))
			noError(t, err)
			buckets[opened] = bucket
			return opened
		}
		storetest.Run(t, open, &storetest.Options{
			Lacks:   lacks[s.Kind],
			Address: func(opened store.Store) string { return s.URL(buckets[opened], "") },
			Litter:  func(t *testing.T, opened store.Store) []string { return litter(t, s, buckets[opened]) },
		})
	})
}
