package mount

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/workdir/workdir/mount/internal/host"
)

// answerPatience is how long the owner of a mount has to answer what changes nothing. One
// that does not is stopped, or has no descriptor left.
var answerPatience = 5 * time.Second // another one in a test

// StateSilent is the Status.State of a mount whose owner does not answer: where it is is
// known, and nothing else.
const StateSilent = "no answer"

// errSilent: the owner of a mount does not answer.
var errSilent = errors.New("the owner does not answer")

// ask is call for a question that changes nothing. ErrServerLost and errSilent where the
// owner does not answer in time.
func (r *Remote) ask(ctx context.Context, method string, out any) error {
	ctx, cancel := context.WithTimeoutCause(ctx, answerPatience, errSilent)
	defer cancel()
	err := r.call(ctx, method, out, nil)
	if errors.Is(err, errSilent) {
		return fmt.Errorf("%s: %w: its owner, process %d, does not answer: it is stopped, or has no descriptor left%w",
			r.record.Path, ErrServerLost, host.ClientOf(r.session), hidden{errSilent})
	}
	return err
}

// List returns the status of all mounts of this user in a run directory ("":
// DefaultRunDir and PlainRunDir), of whatever process. Of a process that does not answer
// it knows where its mounts are; their State is "no answer".
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

// silentMounts are the mounts of a session whose client does not answer, as its server
// has recorded them.
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
