package mount

import (
	"context"
	"crypto/rand"
	"os"
	"path/filepath"

	"github.com/workdir/workdir/doctor"
	"github.com/workdir/workdir/mount/internal/hostcheck"
)

// tryPlain shows an empty workspace as a plain directory, works in it and closes it:
// what is left to do where no mount can be made.
func tryPlain(ctx context.Context, opts *Options) doctor.Check {
	const name = "plain directory"
	parent := filepath.Dir(PlainRunDir())
	if opts.RunDir != "" {
		parent = filepath.Dir(opts.RunDir)
	}
	runDir, err := os.MkdirTemp(parent, "workdir-doctor-")
	if err != nil {
		return hostcheck.Warning(name, err.Error(), "choose another run directory (--run-dir)")
	}
	defer removeTrialRunDir(runDir)
	m, err := Open(ctx, "mem://workdir-doctor/"+rand.Text(), &Options{RunDir: runDir, Plain: true, Logger: opts.Logger})
	if err == nil {
		err = writeAndRead(m.Path("trial"))
		_, closeErr := m.Close(ctx) // not marked: nothing is stored
		if err == nil {
			err = closeErr
		}
	}
	if err != nil {
		return hostcheck.Warning(name, err.Error(), "")
	}
	return doctor.Check{
		Name: name, Status: doctor.OK,
		Detail: "works without FUSE (--plain); commits are as with a mount",
		Fix:    "it gives up read-only that the kernel enforces, the limit of memory while tools work, and the proof that nobody writes any more when it is stored",
	}
}
