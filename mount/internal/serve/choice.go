package serve

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/workdir/workdir/fs"
	"github.com/workdir/workdir/mount/internal/host"
	"github.com/workdir/workdir/mount/internal/overlay"
	"github.com/workdir/workdir/mount/internal/wire"
)

// maxCopied is the largest file, in bytes, with which ViewAuto chooses the overlay: the
// overlay copies a file whole when a tool opens it for writing, the FUSE view only the
// chunks that are written. A quarter of the memory is a limit as well.
const maxCopied = 64 << 20

// choose decides how the tree, which is loaded, is shown: by the view that was asked for by
// name, or by the one that suits. The error says why the view that was asked for is
// impossible.
func (h *hosted) choose() error {
	if h.req.View != wire.ViewAuto && h.req.View != wire.ViewOverlay {
		return nil
	}
	traits, why, err := h.whyNoOverlay()
	switch {
	case err != nil:
		return err
	case why == "":
		h.setView(newOverlayView(h, traits), "")
		return nil
	}
	return h.fallBack(why)
}

// fallBack chooses the FUSE view, unless the overlay was asked for by name.
func (h *hosted) fallBack(why string) error {
	if h.req.View == wire.ViewOverlay {
		return &host.Error{Path: h.dir, What: "the overlay view: " + why, Hint: "leave the view to us (--view auto), or take another one (--view fuse)"}
	}
	h.setView(&fuseView{h: h}, why)
	return nil
}

// setView sets the view. The caller is the owner that opens: nobody else looks at the view
// before the mount is open.
func (h *hosted) setView(v view, reason string) { h.view, h.viewReason = v, reason }

// whyNoOverlay returns why the workspace is not shown by an overlay; "" if nothing speaks
// against it yet. An overlay that was asked for by name is only refused if it would be
// wrong.
func (h *hosted) whyNoOverlay() (traits fs.Traits, why string, err error) {
	if why := h.whyNoOverlayHere(); why != "" {
		return traits, why, nil
	}
	if traits, err = h.tree.Traits(); err != nil {
		return traits, "", err
	}
	largest := min(maxCopied, h.maxContent()/4)
	switch {
	case traits.Whiteout != "":
		why = fmt.Sprintf("%q is a device 0:0, which an overlay takes for a file that was removed", traits.Whiteout)
	case traits.Link != "":
		why = fmt.Sprintf("%q is a hard link, and an overlay would break it once the kernel has forgotten the file", traits.Link)
	case traits.DirPath > overlay.MaxRedirect:
		why = fmt.Sprintf("a directory has a path of %d bytes, and with more than %d it could not be moved", traits.DirPath, overlay.MaxRedirect)
	case h.req.View == wire.ViewAuto && traits.File > largest:
		why = fmt.Sprintf("a file has %d bytes, and one of more than %d would be copied whole at its first change", traits.File, largest)
	}
	return traits, why, nil
}

// whyNoOverlayHere is whyNoOverlay for reasons of the host and the options.
func (h *hosted) whyNoOverlayHere() string {
	switch {
	case h.req.ReadOnly:
		return "read-only mounts are FUSE mounts"
	case h.req.Spill != "" && h.req.View == wire.ViewAuto:
		return "with a spill directory an overlay would leave the disk no reserve"
	case h.req.MaxInodes > 0:
		return "an overlay keeps no limit of inodes (--max-inodes)"
	}
	return overlayUnavailable()
}

// maxContent returns how much content the mount may have in memory, in bytes.
func (h *hosted) maxContent() int64 {
	if h.req.MaxBytes > 0 {
		return h.req.MaxBytes
	}
	return h.server.budget.total
}

// overlayUnavailable returns why this process can make no overlay; "" if it may try.
var overlayUnavailable = sync.OnceValue(func() string {
	ids, err := os.ReadFile("/proc/self/uid_map")
	switch {
	case os.Geteuid() != 0:
		return "only root can mount an overlay"
	case !host.HasSysAdmin():
		return "this process has no CAP_SYS_ADMIN"
	case err != nil || !host.IsInitialNamespace(string(ids)):
		return "in a user namespace an overlay cannot move directories"
	}
	return ""
})

// showChosen shows the tree by the chosen view, or by FUSE if the kernel refuses the
// overlay after all.
func (h *hosted) showChosen(show func() error) error {
	err := show()
	var why *overlay.Unsupported
	if !errors.As(err, &why) {
		return err
	}
	h.view.drop()
	h.view.wait()
	if err := h.fallBack(why.Why); err != nil {
		return err
	}
	return show()
}
