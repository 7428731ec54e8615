package workspace

import (
	"context"
	"errors"
	"os"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/store"
)

// Conditions that callers can tell apart.
var (
	// ErrPath: the workspace has nothing at that path, or not what was asked for.
	ErrPath = errors.New("no such file in the workspace")
	// ErrTarget: an export would touch what is there already.
	ErrTarget = errors.New("already there")
)

// Options are common to the functions of this package. Nil stands for the zero
// value.
type Options struct {
	// TempDir is where content goes that memory has no room for; "" is
	// os.TempDir.
	TempDir string
	// Warn is told of what an archive has and the result has not, from the
	// goroutine that called.
	Warn func(archive.Warning)
	// Progress is told of long work now and then, from the goroutine that called.
	Progress func(Progress)
}

// Progress of one function.
type Progress struct {
	Phase Phase
	Done  int64 // bytes
	Total int64 // bytes; 0: not known
}

// Phase is what a function is at.
type Phase string

// Phases. Bytes are of the archive while reading, of content after that.
const (
	Reading   Phase = "reading"
	Writing   Phase = "writing"
	Comparing Phase = "comparing"
)

func (o *Options) orDefault() *Options {
	if o == nil {
		o = &Options{}
	}
	return o
}

func (o *Options) tempDir() string {
	if o.TempDir == "" {
		return os.TempDir()
	}
	return o.TempDir
}

func (o *Options) warn(path, text string) {
	if o.Warn != nil {
		o.Warn(archive.Warning{Path: path, Text: text})
	}
}

func (o *Options) progress(phase Phase, done, total int64) {
	if o.Progress != nil {
		o.Progress(Progress{phase, done, total})
	}
}

// opened is an archive that is open, with the store that it is in.
type opened struct {
	url    store.URL
	store  store.Store
	object store.Object
}

// open opens the archive of a URL, or a version. No more than its last tail bytes are read
// before somebody asks for others.
func open(ctx context.Context, url string, tail int64) (*opened, error) {
	u, err := store.ParseURL(url)
	if err != nil {
		return nil, err
	}
	s, err := store.OpenBucket(ctx, u)
	if err != nil {
		return nil, err
	}
	o, err := u.OpenArchive(ctx, s, tail)
	if err != nil {
		s.Close()
		return nil, err
	}
	return &opened{u, s, o}, nil
}

// close closes both. A nil one is closed.
func (o *opened) close() {
	if o != nil {
		o.object.Close()
		o.store.Close()
	}
}
