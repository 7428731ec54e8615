package cloud

import (
	"github.com/workdir/workdir/store"
)

// Options of NewStore. Nil is good.
type Options struct {
	// Prefix comes before every key: that of a bucket that shows a part of another.
	Prefix string
	// Transport is what the backend's requests go through; nil counts nothing.
	Transport *Transport
}

// NewStore gives a store over a backend, which the store then owns. No request is
// made.
func NewStore(b Backend, opts *Options) store.Store {
	panic("to come")
}
