package mount

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/doctor"
	"github.com/workdir/workdir/mount/internal/host"
	"github.com/workdir/workdir/mount/internal/hostcheck"
)

// Diagnose tries what this host allows, and reports each check as it is done, in the
// caller's goroutine. Only RunDir and Logger of opts count, and opts may be nil. It mounts
// an empty workspace for a moment and leaves nothing behind. The error is ctx's; what the
// host lacks is in the checks.
func Diagnose(ctx context.Context, opts *Options, report func(doctor.Check)) error {
	if opts == nil {
		opts = &Options{}
	}
	dir := hostcheck.Run(opts.RunDir, report)
	if ctx.Err() == nil {
		tryMount(ctx, dir, opts, report)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// trialBytes is how much a trial writes.
const trialBytes = 256 << 10

// trialPatience limits the end of a trial whose context has ended.
const trialPatience = 30 * time.Second

// tryMount mounts an empty workspace, works in it and closes it. place is what
// hostcheck.Run returned.
func tryMount(ctx context.Context, place string, opts *Options, report func(doctor.Check)) {
	const name = "mount"
	runDir, remove, err := trialRunDir(place, opts.RunDir)
	if err != nil {
		report(hostcheck.Result(name, "", err))
		return
	}
	if runDir == "" {
		report(doctor.Check{Name: name, Status: doctor.Skip, Detail: "needs a run directory"})
		return
	}
	defer remove()
	started := time.Now()
	m, err := Open(ctx, "mem://workdir-doctor/"+rand.Text(), &Options{RunDir: runDir, Logger: opts.Logger})
	if err != nil {
		report(hostcheck.Result(name, "", err))
		report(tryPlain(ctx, opts))
		return
	}
	inside := append(workInTrial(m), checkView(ctx, m))
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), trialPatience)
	defer cancel()
	_, err = m.Close(ctx) // not marked: nothing is stored
	report(hostcheck.Result(name, fmt.Sprintf("mounted %s, written, read and unmounted in %d ms", mountedBy(), time.Since(started).Milliseconds()), err))
	for _, c := range inside {
		report(c)
	}
}

// checkView reports which view served the trial, and why it was not the overlay.
func checkView(ctx context.Context, m *Mount) doctor.Check {
	const name = "view"
	st, err := m.Status(ctx)
	switch {
	case err != nil:
		return hostcheck.Result(name, "", err)
	case st.ViewReason != "":
		return hostcheck.Warning(name, fmt.Sprintf("%s, which is slower than the overlay: %s", st.View, st.ViewReason),
			"overlays need root in the host's own user namespace and Linux 6.6; everything works without")
	}
	return hostcheck.Result(name, "the overlay: what tools make and change is memory at the kernel's own speed", nil)
}

// trialRunDir returns the run directory of a trial, and a function that removes it if it
// did not exist before.
func trialRunDir(place, wanted string) (dir string, remove func(), err error) {
	if wanted == "" {
		wanted = DefaultRunDir()
	}
	if _, err := os.Lstat(wanted); err == nil || place == "" {
		return place, func() {}, nil
	}
	dir, err = os.MkdirTemp(place, "workdir-doctor-")
	if err != nil {
		return "", nil, &HostError{Path: place, What: err.Error(), Hint: "choose another run directory (--run-dir)"}
	}
	return dir, func() { removeTrialRunDir(dir) }, nil
}

// removeTrialRunDir ends the server that was started for the trial. If a mount could not be
// unmounted, both stay.
func removeTrialRunDir(dir string) {
	ctx, cancel := context.WithTimeout(context.Background(), trialPatience)
	defer cancel()
	if Stop(ctx) != nil || len(host.SessionDirs(dir)) > 0 {
		return
	}
	for _, name := range []string{".lock", host.MountpointsName, ""} {
		_ = os.Remove(filepath.Join(dir, name))
	}
}

func mountedBy() string {
	if os.Geteuid() == 0 && host.HasSysAdmin() {
		return "by mount(2)"
	}
	return "by fusermount3"
}

// workInTrial writes and reads, and checks what the mount can do.
func workInTrial(m *Mount) []doctor.Check {
	if err := writeAndRead(m.Path("trial")); err != nil {
		return []doctor.Check{hostcheck.Result("in the mount", "", err)}
	}
	return []doctor.Check{checkInside(m)}
}

func writeAndRead(path string) error {
	data := make([]byte, trialBytes)
	_, _ = rand.Read(data) // never fails
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return err
	}
	got, err := os.ReadFile(path)
	if err == nil && !bytes.Equal(got, data) {
		err = fmt.Errorf("read %s: other bytes than were written", path)
	}
	return err
}

// checkInside tries what depends on the kernel.
func checkInside(m *Mount) doctor.Check {
	const name = "in the mount"
	var lacks []string
	fd, err := unix.Open(m.Path(), unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		lacks = append(lacks, "O_TMPFILE ("+err.Error()+")")
	} else {
		unix.Close(fd)
	}
	var stx unix.Statx_t
	err = unix.Statx(unix.AT_FDCWD, m.Path("trial"), 0, unix.STATX_BTIME, &stx)
	if err != nil || stx.Mask&unix.STATX_BTIME == 0 {
		lacks = append(lacks, "birth times")
	}
	if len(lacks) > 0 {
		return hostcheck.Warning(name, "files work; there is no "+strings.Join(lacks, ", no "), "a later kernel has it; programs do without")
	}
	return hostcheck.Result(name, "files, O_TMPFILE and birth times work", nil)
}

// tryPlain shows an empty workspace as a plain directory, works in it and closes it: the
// remaining way where no mount can be made.
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
