package cloud

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/workdir/workdir/store"
)

// Diagnoser is a Backend that can tell more of its bucket than can be tried.
type Diagnoser interface {
	// Place tells where the bucket is: region, address.
	Place() string
	// Credentials tells where they come from, and never what they are.
	Credentials(ctx context.Context) store.Check
	// Settings tells which settings of the bucket matter to archives: versioning,
	// rules of lifecycle. name is one that an archive could have, for rules that hold
	// for a prefix. What it may not look at is an Unseen check. It writes nothing.
	Settings(ctx context.Context, name string) []store.Check
}

// Namer is a Backend that can tell how a name goes on.
type Namer interface {
	// Names gives, by one request, the names of objects that begin with prefix and
	// have no further slash, and those beginnings of others that end with the next
	// slash; at most limit, in any order.
	Names(ctx context.Context, prefix string, limit int) ([]string, error)
}

// Unseen is the check of something that could not be looked at, which is no failure:
// no archive needs it. permission is what it takes.
func Unseen(b Backend, check, permission string, err error) store.Check {
	c := store.Check{Name: check, Status: store.CheckSkip}
	switch b.Classify(err).Meaning {
	case Denied, Unidentified:
		c.Detail, c.Fix = "could not look: these credentials may not", "the permission "+permission+" lets them"
	case Unsupported:
		c.Detail = "could not look: this server cannot tell"
	default:
		c.Detail = "could not look: " + OneLine(err.Error())
	}
	return c
}

// ownNames begins the names of what this program stores beside archives for a
// moment.
const ownNames = ".workdir-"

// Diagnose implements store.Diagnoser. After a check that fails there are no others,
// which would fail as well.
func (s *cloudStore) Diagnose(ctx context.Context, key string) []store.Check {
	ctx = s.counted(ctx)
	name := s.prefix + key + suffix
	var checks []store.Check
	place := s.backend.Endpoint()
	d, tells := s.backend.(Diagnoser)
	if tells {
		place = d.Place()
		checks = append(checks, d.Credentials(Operation(ctx, "bucket")))
	}
	if failed(checks) {
		return checks
	}
	checks = append(checks, s.checkBucket(ctx, key, name, place))
	if failed(checks) {
		return checks
	}
	if tells {
		checks = append(checks, d.Settings(ctx, name)...)
	}
	if n, ok := s.backend.(Namer); ok {
		checks = append(checks, s.leftovers(ctx, n, name))
	}
	return checks
}

func failed(checks []store.Check) bool {
	return slices.ContainsFunc(checks, func(c store.Check) bool { return c.Status == store.CheckFail })
}

// checkBucket asks whether the bucket is there, and what is not there can be told
// from what may not be seen.
func (s *cloudStore) checkBucket(ctx context.Context, key, name, place string) store.Check {
	c := store.Check{Name: "bucket", Status: store.CheckOK, Detail: place}
	err := s.backend.Accessible(Operation(ctx, "bucket"), name)
	if err == nil {
		return c
	}
	c.Status, c.Detail = store.CheckFail, place+": "+OneLine(err.Error())
	var e *store.Error
	if errors.As(s.fail(ctx, "list", key, &bucketError{err}), &e) {
		c.Fix = e.Todo
	}
	return c
}

// leftovers looks for scratch objects of programs that were killed, beside the scratch
// directory of a name.
func (s *cloudStore) leftovers(ctx context.Context, n Namer, name string) store.Check {
	const check = "leftovers"
	dir, _, _ := strings.Cut(name, ownNames)
	dir = dir[:strings.LastIndexByte(dir, '/')+1]
	names, err := n.Names(Operation(ctx, "list"), dir+ownNames, maxLeftovers)
	switch {
	case err != nil:
		return Unseen(s.backend, check, "to list objects", err)
	case len(names) == 0:
		return store.Check{Name: check, Status: store.CheckOK, Detail: "no scratch objects of programs that were killed"}
	}
	return store.Check{
		Name: check, Status: store.CheckWarn,
		Detail: fmt.Sprintf("%d scratch objects of programs that were killed, or are at work just now, such as %s/%s", len(names), s.backend.Bucket(), names[0]),
		Fix:    "remove what begins with " + dir + ownNames + " and is older than a day",
	}
}

// maxLeftovers is how many are counted.
const maxLeftovers = 100

// Complete implements store.Completer.
func (s *cloudStore) Complete(ctx context.Context, start string, limit int) ([]string, error) {
	n, ok := s.backend.(Namer)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	names, err := n.Names(Operation(ctx, "list"), s.prefix+start, limit)
	if err != nil {
		return nil, s.fail(ctx, "list", start, err)
	}
	var keys []string
	for _, name := range names {
		if key, ok := completion(strings.TrimPrefix(name, s.prefix)); ok {
			keys = append(keys, key)
		}
	}
	return keys, nil
}

// completion is the key that the name of an object, or the beginning of names, stands
// for.
func completion(name string) (key string, ok bool) {
	key, isArchive := strings.CutSuffix(name, suffix)
	dir, isDir := strings.CutSuffix(name, "/")
	last := key[strings.LastIndexByte(key, '/')+1:]
	if isDir {
		last = dir[strings.LastIndexByte(dir, '/')+1:]
	}
	return key, (isArchive || isDir) && last != "" && !strings.HasPrefix(last, ownNames)
}
