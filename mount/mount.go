package mount

import (
	"context"
	"errors"
	"os/exec"
)

var errStub = errors.New("stub")

// STUB
type Mount struct{}

func Init()                                                                       {}
func Start(ctx context.Context) error                                             { return errStub }
func Stop(ctx context.Context) error                                              { return errStub } // ends the servers of this process that have no mount; then waits for remote commands to be answered
func Open(ctx context.Context, url string, opts *Options) (*Mount, error)         { return nil, errStub }
func Command(ctx context.Context, m *Mount, name string, arg ...string) *exec.Cmd { return nil }
func (m *Mount) Path(elem ...string) string                                       { return "" }
func (m *Mount) URL() string                                                      { return "" } // without secrets
func (m *Mount) Commit() error                                                    { return errStub }
func (m *Mount) Abandon()                                                         {}
func (m *Mount) Close(ctx context.Context) (Result, error)                        { return Result{}, errStub }
func (m *Mount) Status(ctx context.Context) (Status, error)                       { return Status{}, errStub }
func (m *Mount) Done() <-chan struct{}                                            { return nil } // closed when Close has ended for good, or the mount was lost
func (m *Mount) Warnings() []string                                               { return nil } // of opening

func DefaultRunDir() string                            { return "" }
func CleanUp(ctx context.Context, runDir string) error { return errStub } // clears away what killed clients and servers left in runDir ("" default)

// Remote is a mount of another process.
type Remote struct{}

func Find(ctx context.Context, path, runDir string) (*Remote, error) { return nil, errStub }
func List(ctx context.Context, runDir string) ([]Status, error)      { return nil, errStub }
func (r *Remote) Path() string                                       { return "" }
func (r *Remote) Commit(ctx context.Context) error                   { return errStub }
func (r *Remote) Abandon(ctx context.Context) error                  { return errStub }
func (r *Remote) Status(ctx context.Context) (Status, error)         { return Status{}, errStub }
func (r *Remote) Close(ctx context.Context, progress func(Progress)) (Result, error) {
	return Result{}, errStub
} // what Mount.Close gives in the owner
