package mount

import (
	"context"
	"errors"
	"os"
	"sync"

	"github.com/workdir/workdir/mount/internal/host"
)

// StateSilent is the Status.State of a mount whose owner does not answer: only its location
// is known.
const StateSilent = "no answer"

// StateLost is the Status.State of a mount whose server is lost: tools get ENOTCONN there
// until it is closed, and nothing of it is stored. Only other processes see it;
// Mount.Status returns ErrServerLost.
const StateLost = "server lost"

// statusOrLost is Status for commands of other processes.
func (m *Mount) statusOrLost(ctx context.Context) (Status, error) {
	st, err := m.Status(ctx)
	if !errors.Is(err, ErrServerLost) {
		return st, err
	}
	return Status{
		URL: m.URL(), Path: m.path, RawPath: RawPath(m.path), ReadOnly: m.opts.ReadOnly,
		State: StateLost, Revision: m.revision, ClientPID: os.Getpid(),
	}, nil
}

// List returns the status of all mounts of this user in a run directory ("": DefaultRunDir
// and PlainRunDir), of all processes. For a process that does not answer, only the
// locations of its mounts are known; their State is "no answer".
func List(ctx context.Context, runDir string) ([]Status, error) {
	sessions := host.SessionsIn(runDir)
	found, errs := make([][]Status, len(sessions)), make([]error, len(sessions))
	var asked sync.WaitGroup
	for i, session := range sessions {
		asked.Go(func() { found[i], errs[i] = mountsIn(ctx, session) })
	}
	asked.Wait()
	all := []Status{}
	for _, some := range found {
		all = append(all, some...)
	}
	return all, errors.Join(errs...)
}

// mountsIn returns the mounts of one session; none if it is dead.
func mountsIn(ctx context.Context, session string) ([]Status, error) {
	r := &Remote{session: session}
	var all []Status
	err := r.ask(ctx, remoteList, &all)
	switch {
	case errors.Is(err, errSilent):
		return silentMounts(session), nil
	case errors.Is(err, ErrServerLost):
		return nil, nil
	}
	return all, err
}

// silentMounts returns the mounts of a session whose client does not answer, from the
// records of its server.
func silentMounts(session string) []Status {
	var all []Status
	for _, r := range host.Records(session) {
		if r.Path != "" {
			path := string(r.Path)
			all = append(all, Status{URL: r.URL, Path: path, RawPath: RawPath(path), State: StateSilent, ClientPID: host.ClientOf(session)})
		}
	}
	return all
}
