package cloud

import (
	"testing"

	"github.com/workdir/workdir/store"
	"github.com/workdir/workdir/store/storetest"
)

func TestConformance(t *testing.T) {
	for name, parallel := range map[string]int{"parts at once": 8, "one part at a time": 1} {
		t.Run(name, func(t *testing.T) {
			open := func(t *testing.T) store.Store {
				m := newMemory()
				m.parallel = parallel
				return newMemoryStore(t, m)
			}
			storetest.Run(t, open, &storetest.Options{
				Lacks: map[storetest.Ability]string{storetest.Processes: "it is in this one's memory"},
				Litter: func(t *testing.T, s store.Store) []string {
					m, _ := s.(*cloudStore).backend.(*memory)
					return m.litter()
				},
			})
		})
	}
}
