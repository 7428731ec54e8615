package mount

import (
	"fmt"

	"github.com/workdir/workdir/mount/internal/wire"
)

// View says how tools see a workspace, see docs/semantics.md.
type View = wire.View

// The views.
const (
	// ViewAuto is the overlay if the host can make one and it suits the workspace,
	// otherwise FUSE.
	ViewAuto = wire.ViewAuto
	// ViewOverlay is a kernel overlay: new and changed files are in memory, without the
	// server, which answers only for what is still in the archive. It needs CAP_SYS_ADMIN
	// in the initial user namespace and Linux 6.6. There are no read-only overlays.
	ViewOverlay = wire.ViewOverlay
	// ViewFUSE is a FUSE mount.
	ViewFUSE = wire.ViewFUSE
	// ViewPlain is a plain directory, as with Options.Plain.
	ViewPlain = wire.ViewPlain
)

// ParseView returns the view of a name: "auto" and "" are ViewAuto.
func ParseView(name string) (View, error) {
	switch v := View(name); v {
	case ViewAuto, ViewOverlay, ViewFUSE, ViewPlain:
		return v, nil
	case "auto":
		return ViewAuto, nil
	}
	return "", fmt.Errorf("view %q: it is one of auto, overlay, fuse, plain", name)
}

// resolveView unifies Plain and ViewPlain.
func (o *Options) resolveView() error {
	if _, err := ParseView(string(o.View)); err != nil {
		return err
	}
	switch {
	case o.View == ViewPlain:
		o.Plain = true
	case o.Plain && o.View != ViewAuto:
		return fmt.Errorf("%w: the view cannot be %s and plain", ErrCannotMount, o.View)
	case o.Plain:
		o.View = ViewPlain
	case o.View == "auto":
		o.View = ViewAuto
	}
	return nil
}
