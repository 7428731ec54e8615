package temporal

import (
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/workdir/workdir/internal/testenv"
	"github.com/workdir/workdir/mount"
)

func TestMain(m *testing.M) {
	if os.Getenv(noFUSEVariable) == "" { // not needed without FUSE
		mount.Init()
	}
	if config := os.Getenv(configVariable); config != "" {
		os.Exit(workerMain(config))
	}
	flag.Parse()
	setParallel()
	os.Exit(startAndRun(m))
}

// setParallel lets more tests run side by side than there are processors, unless
// somebody says otherwise: most of their time they wait for timeouts of the server.
func setParallel() {
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		_ = flag.Set("test.parallel", "6") // the flag is there, and takes numbers
	}
}

// startAndRun runs the tests with a Temporal server.
func startAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("/tmp", "wd")
	if err == nil {
		defer os.RemoveAll(dir)
		server, err = startServer(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if err := server.stop(); err != nil {
		fmt.Fprintln(os.Stderr, "stop the Temporal server:", err)
		return 1
	}
	return code
}

// warnings is a log of messages worth reading when a test has failed.
func warnings() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// waitLimit is how long a test waits for anything.
const waitLimit = 2 * time.Minute

// waitFor polls a condition, for waitLimit at most.
func waitFor(t testing.TB, what string, cond func() bool) {
	t.Helper()
	if err := eventually(what, cond); err != nil {
		t.Fatal(err)
	}
}

// eventually is waitFor, for goroutines that are not the test's.
func eventually(what string, cond func() bool) error {
	if !testenv.Eventually(waitLimit, cond) {
		return errors.New("waited in vain for " + what)
	}
	return nil
}

func noError(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
