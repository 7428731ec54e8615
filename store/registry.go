package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// openers are the drivers, by canonical scheme.
var openers = struct {
	sync.RWMutex
	byScheme map[string]func(context.Context, URL) (Store, error)
}{byScheme: map[string]func(context.Context, URL) (Store, error){
	"file": openFile,
	"mem":  openMem,
}}

// drivers are the packages that a program imports for the clouds.
var drivers = map[string]string{
	"s3":     "github.com/workdir/workdir/store/drivers/s3",
	"gs":     "github.com/workdir/workdir/store/drivers/gs",
	"azblob": "github.com/workdir/workdir/store/drivers/azure",
}

// Register makes open the driver of a canonical scheme (s3, gs, azblob) or of a new one. open
// uses the Bucket and Query of the URL; its Store's keys are relative to the bucket. Drivers
// call Register from init, programs before they parse the first URL. It panics if the scheme
// already has a driver, or is not a valid scheme.
func Register(scheme string, open func(context.Context, URL) (Store, error)) {
	openers.Lock()
	defer openers.Unlock()
	if openers.byScheme[scheme] != nil {
		panic(fmt.Sprintf("store: scheme %q is registered twice", scheme))
	}
	if c, known := schemes[scheme]; scheme == "" || known && c != scheme || scheme != strings.ToLower(scheme) || strings.ContainsAny(scheme, ":/?#@") {
		panic(fmt.Sprintf("store: %q cannot be registered as a scheme", scheme))
	}
	openers.byScheme[scheme] = open
}

// OpenBucket opens the store of u: the bucket of a cloud or of mem, the root directory for
// file. The store need not exist yet, nor be reachable; its operations return such errors. The
// caller closes the Store.
//
// ErrURL if the scheme has no driver in this program or the driver does not know an option.
func OpenBucket(ctx context.Context, u URL) (Store, error) {
	if err := CheckDriver(u); err != nil {
		return nil, err
	}
	openers.RLock()
	open := openers.byScheme[u.Scheme]
	openers.RUnlock()
	return open(ctx, u)
}

// CheckDriver returns ErrURL if the scheme of u has no driver in this program; the error names
// the package to import. It contacts no store.
func CheckDriver(u URL) error {
	openers.RLock()
	linked := openers.byScheme[u.Scheme] != nil
	openers.RUnlock()
	if linked {
		return nil
	}
	e := &Error{Op: "open", Object: u.bucket(), Kind: ErrURL, Cause: fmt.Errorf("unknown scheme %q", u.Scheme), Todo: "the known ones are " + knownSchemes()}
	if path := drivers[u.Scheme]; path != "" {
		e.Cause = fmt.Errorf("the driver for %s is not linked into this program", u.Scheme)
		e.Todo = fmt.Sprintf("import _ %q", path)
	}
	return e
}

// canonicalScheme returns the scheme of which name is an alias.
func canonicalScheme(name string) (string, bool) {
	name = strings.ToLower(name)
	if c, ok := schemes[name]; ok {
		return c, true
	}
	openers.RLock()
	defer openers.RUnlock()
	return name, openers.byScheme[name] != nil
}

// knownSchemes lists the canonical schemes, for messages.
func knownSchemes() string {
	var names []string
	for _, c := range schemes {
		names = append(names, c)
	}
	openers.RLock()
	for name := range openers.byScheme {
		names = append(names, name)
	}
	openers.RUnlock()
	slices.Sort(names)
	return strings.Join(slices.Compact(names), ", ")
}

// noOptions returns an error if u has options, for drivers without any.
func noOptions(u URL) error {
	if u.Query == "" {
		return nil
	}
	return &Error{Op: "open", Object: u.bucket(), Kind: ErrURL, Cause: fmt.Errorf("the driver for %s has no options", u.Scheme), Todo: "remove what follows the \"?\""}
}
