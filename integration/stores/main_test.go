package stores

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/workdir/workdir/mount"
	"github.com/workdir/workdir/store"
	_ "github.com/workdir/workdir/store/drivers/azure" // the drivers under test
	_ "github.com/workdir/workdir/store/drivers/gs"
	_ "github.com/workdir/workdir/store/drivers/s3"
	"github.com/workdir/workdir/store/storetest"
)

// servers are those that all tests share, one for each cloud.
var servers = map[Kind]*Server{}

// workdirMount is the command under test, built as users build it: without the
// race detector.
var workdirMount string

func TestMain(m *testing.M) {
	mount.Init()
	storetest.Child(openURL)
	os.Exit(prepareAndRun(m))
}

func prepareAndRun(m *testing.M) (code int) {
	dir, err := os.MkdirTemp("/tmp", "wd")
	defer os.RemoveAll(dir)
	if err == nil {
		workdirMount, err = build(dir)
	}
	defer func() {
		if err := stopAll(code != 0); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}()
	if err == nil {
		err = startAll()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

func build(dir string) (string, error) {
	path := filepath.Join(dir, "workdir-mount")
	cmd := exec.Command("go", "build", "-o", path, "./cmd/workdir-mount")
	cmd.Dir = "../.."
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build workdir-mount: %w: %s", err, out)
	}
	return path, nil
}

// startAll starts the servers. This process, and those that it starts, use them
// unless they are told otherwise.
func startAll() error {
	for _, kind := range Kinds {
		s, err := Start(context.Background(), kind)
		if err != nil {
			return err
		}
		servers[kind] = s
		for _, variable := range s.Env() {
			name, value, _ := strings.Cut(variable, "=")
			if err := os.Setenv(name, value); err != nil {
				return err
			}
		}
	}
	return nil
}

// stopAll stops the servers, and shows what they have said if tests have failed.
func stopAll(failed bool) error {
	var errs error
	for kind, s := range servers {
		if log := s.Log(); failed && log != "" {
			fmt.Fprintf(os.Stderr, "the server for %s has said:\n%s\n", kind, log)
		}
		errs = errors.Join(errs, s.Stop())
	}
	return errs
}

// openURL opens the store of a bucket.
func openURL(ctx context.Context, url string) (store.Store, error) {
	u, err := store.ParsePrefix(url)
	if err != nil {
		return nil, err
	}
	return store.OpenBucket(ctx, u)
}

// newBucket makes a bucket of a name that no other one has, and empties it at the
// end of the test: what is in it may cost the server memory.
func newBucket(t testing.TB, s *Server) string {
	t.Helper()
	bucket := "b-" + strings.ToLower(rand.Text())
	noError(t, s.MakeBucket(t.Context(), bucket))
	t.Cleanup(func() {
		ctx := context.Background()
		names, err := s.client.names(ctx, bucket)
		noError(t, err)
		for _, name := range names {
			noError(t, s.client.remove(ctx, bucket, name))
		}
	})
	return bucket
}

// litter returns the objects in a bucket other than archives.
func litter(t *testing.T, s *Server, bucket string) []string {
	t.Helper()
	names, err := s.client.names(t.Context(), bucket)
	noError(t, err)
	litter, err := s.client.hidden(t.Context(), bucket)
	noError(t, err)
	for _, name := range names {
		if !strings.HasSuffix(name, ".tar.gz") || strings.Contains(name, "workdir-probe") {
			litter = append(litter, name)
		}
	}
	return litter
}

// onEach runs a test for each cloud.
func onEach(t *testing.T, test func(t *testing.T, s *Server)) {
	for _, kind := range Kinds {
		t.Run(string(kind), func(t *testing.T) { test(t, servers[kind]) })
	}
}

func noError(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
