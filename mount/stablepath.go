package mount

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/workdir/workdir/mount/internal/host"
)

// CommandPath returns a path inside the mount as the commands of [Command] see it: below
// Options.At if that is set, otherwise the same as Path.
func (m *Mount) CommandPath(elem ...string) string {
	if m.opts.At == "" {
		return m.Path(elem...)
	}
	return filepath.Join(append([]string{m.opts.At}, elem...)...)
}

// checkAt refuses a path for Options.At that commands could not see, and cleans it. The
// shim checks again: the host may have changed by then.
func (m *Mount) checkAt() error {
	at := m.opts.At
	if at == "" {
		return nil
	}
	m.opts.At = filepath.Clean(at)
	if !filepath.IsAbs(at) || m.opts.At == "/" || strings.ContainsRune(at, 0) {
		return &HostError{What: fmt.Sprintf("commands cannot have the workspace at %q", at), Hint: "choose an absolute path other than /"}
	}
	if _, err := selfBinary(); err != nil {
		return err
	}
	if err := checkPlace(m.opts.At); err != nil {
		return err
	}
	return checkUserNamespaces(m.opts.At)
}

// checkPlace reports whether the path is a directory, or one can be made for the commands
// alone, see host.MakesUp.
func checkPlace(at string) error {
	fi, err := os.Stat(at)
	switch {
	case err == nil && !fi.IsDir():
		return &HostError{Path: at, What: "commands cannot have the workspace there: it is not a directory"}
	case err == nil || errors.Is(err, os.ErrNotExist) && host.MakesUp(at):
		return nil
	case errors.Is(err, os.ErrNotExist):
		return missingPlace(at)
	}
	return &HostError{Path: at, What: "commands cannot have the workspace there: " + err.Error()}
}

func missingPlace(at string) error {
	return &HostError{Path: at, What: "commands cannot have the workspace there: there is no such directory", Hint: "make it first: mkdir -p " + at}
}

// checkUserNamespaces says why an ordinary user cannot have a user namespace, if a setting
// of the kernel is the reason.
func checkUserNamespaces(at string) error {
	if host.MayMount() {
		return nil
	}
	for _, setting := range []string{"user/max_user_namespaces", "kernel/unprivileged_userns_clone"} {
		if b, err := os.ReadFile("/proc/sys/" + setting); err == nil && strings.TrimSpace(string(b)) == "0" {
			name := strings.ReplaceAll(setting, "/", ".")
			return &HostError{Path: at, What: "commands cannot have the workspace there: this host has no user namespaces for ordinary users (sysctl " + name + " is 0)",
				Hint: "run as root, or without a path of their own"}
		}
	}
	return nil
}
