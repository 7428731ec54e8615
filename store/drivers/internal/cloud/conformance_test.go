package cloud

import (
	"testing"

	"github.com/workdir/workdir/store"
	"github.com/workdir/workdir/store/storetest"
)

func TestConformance(t *testing.T) {
	open := func(t *testing.T) store.Store { return newMemoryStore(t, newMemory()) }
	storetest.Run(t, open, &storetest.Options{
		Lacks: map[storetest.Ability]string{storetest.Processes: "it is in this one's memory"},
		Litter: func(t *testing.T, s store.Store) []string {
			m, _ := s.(*cloudStore).backend.(*memory)
			return m.litter()
		},
	})
}
