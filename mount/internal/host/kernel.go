package host

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// MaxIO is the largest FUSE read and write, in bytes: max_read of the mount and MaxWrite of
// the adapter.
const MaxIO = 1 << 20

// Flags are the mount options that the kernel enforces.
type Flags struct {
	ReadOnly   bool `json:"readOnly,omitempty"`
	AllowOther bool `json:"allowOther,omitempty"`
	Suid       bool `json:"suid,omitempty"`
	Dev        bool `json:"dev,omitempty"`
}

// Mount mounts a new FUSE file system at dir and returns its /dev/fuse descriptor. The
// source must have no colon, by which GNU tools recognize network file systems (gnulib's
// ME_REMOTE), no comma and no backslash. Root mounts by mount(2), others by fusermount3.
// The error is an *Error.
func Mount(dir, source string, f Flags) (int, error) {
	if os.Geteuid() == 0 {
		fd, err := mountDirect(dir, source, f)
		if !errors.Is(err, unix.EPERM) {
			return fd, err
		}
	}
	return mountByHelper(dir, source, f)
}

// kernel returns the flags of mount(2).
func (f Flags) kernel() uintptr {
	var flags uintptr
	if f.ReadOnly {
		flags |= unix.MS_RDONLY
	}
	if !f.Suid {
		flags |= unix.MS_NOSUID
	}
	if !f.Dev {
		flags |= unix.MS_NODEV
	}
	return flags
}

// helper returns the options of fusermount3, which does not know suid and dev.
func (f Flags) helper() []string {
	opts := []string{"nosuid", "nodev", "default_permissions"}
	if f.ReadOnly {
		opts = append(opts, "ro")
	}
	if f.AllowOther {
		opts = append(opts, "allow_other")
	}
	return opts
}

// CheckFlags refuses what an ordinary user may not ask for, before it is tried.
func CheckFlags(dir string, f Flags) error {
	if os.Geteuid() == 0 {
		return nil
	}
	if f.Suid || f.Dev {
		return &Error{Path: dir, What: "only root can mount with suid or dev", Hint: "leave the option out, or mount as root"}
	}
	if f.AllowOther && !AllowsOthers("/etc/fuse.conf") {
		return &Error{Path: dir, What: "/etc/fuse.conf does not let users open their mounts to others", Hint: "root can allow it by a line user_allow_other there"}
	}
	return nil
}

// AllowsOthers looks for user_allow_other on a line of its own, as fusermount3
// does.
func AllowsOthers(conf string) bool {
	b, err := os.ReadFile(conf)
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(b)) {
		if strings.TrimSpace(line) == "user_allow_other" {
			return true
		}
	}
	return false
}

// OpenFuse opens /dev/fuse. dir is for the *Error that says why it cannot be opened.
func OpenFuse(dir string) (int, error) {
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	switch {
	case err == nil:
		if isFuse(fd) {
			return fd, nil
		}
		unix.Close(fd)
		return -1, &Error{Path: dir, What: "/dev/fuse is another device", Hint: "give the container the device (--device /dev/fuse)"}
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return -1, &Error{Path: dir, What: "there is no /dev/fuse", Hint: "load the kernel's module (modprobe fuse), or give the container the device (--device /dev/fuse)"}
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return -1, &Error{Path: dir, What: "/dev/fuse may not be opened", Hint: "its mode should be 0666 (chmod 0666 /dev/fuse), and a container must be given the device (--device /dev/fuse)"}
	}
	return -1, &Error{Path: dir, What: "open /dev/fuse: " + err.Error()}
}

// isFuse reports whether a file is the FUSE device, whose numbers are fixed (the kernel's
// Documentation/admin-guide/devices.txt): containers may hide devices behind /dev/null.
func isFuse(fd int) bool {
	var st unix.Stat_t
	return unix.Fstat(fd, &st) == nil && st.Rdev == unix.Mkdev(10, 229)
}

// mountDirect mounts by mount(2). It returns EPERM unchanged: fusermount3 may still
// succeed.
func mountDirect(dir, source string, f Flags) (int, error) {
	fd, err := OpenFuse(dir)
	if err != nil {
		return -1, err
	}
	data := fmt.Sprintf("fd=%d,rootmode=%o,user_id=%d,group_id=%d,default_permissions,max_read=%d",
		fd, unix.S_IFDIR, os.Geteuid(), os.Getegid(), MaxIO)
	if f.AllowOther {
		data += ",allow_other"
	}
	err = unix.Mount(source, dir, fsType, f.kernel(), data)
	if err == nil {
		return fd, nil
	}
	unix.Close(fd)
	if errors.Is(err, unix.EPERM) {
		return -1, err
	}
	if errors.Is(err, unix.ENODEV) {
		return -1, &Error{Path: dir, What: "the kernel has no FUSE", Hint: "load the module (modprobe fuse)"}
	}
	return -1, &Error{Path: dir, What: "mount(2): " + err.Error()}
}

// Fusermount finds the setuid program fusermount3, by absolute path.
func Fusermount() (string, error) {
	for _, dir := range []string{"/usr/bin", "/bin", "/usr/local/bin", "/run/wrappers/bin"} {
		p := filepath.Join(dir, "fusermount3")
		if unix.Access(p, unix.X_OK) == nil {
			return p, nil
		}
	}
	if p, err := exec.LookPath("fusermount3"); err == nil && filepath.IsAbs(p) {
		return p, nil
	}
	return "", &Error{What: "fusermount3 is not installed, and without it only root can mount", Hint: "install it (apt-get install fuse3)"}
}

// CheckFUSE returns nil where this user can ask for a FUSE mount: the device can be opened,
// and an ordinary user has fusermount3.
func CheckFUSE() error {
	fd, err := OpenFuse("")
	if err != nil {
		return err
	}
	unix.Close(fd)
	if os.Geteuid() != 0 {
		_, err = Fusermount()
	}
	return err
}

// mountByHelper mounts by fusermount3, which passes the descriptor over a socket (the
// protocol of libfuse's util/fusermount.c).
func mountByHelper(dir, source string, f Flags) (int, error) {
	probe, err := OpenFuse(dir) // for its clearer error: fusermount3 opens it as this user too
	if err != nil {
		return -1, err
	}
	unix.Close(probe)
	helper, err := Fusermount()
	if err != nil {
		return -1, err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, &Error{Path: dir, What: "socketpair: " + err.Error()}
	}
	defer unix.Close(pair[0])
	theirs := os.NewFile(uintptr(pair[1]), "fusermount")
	opts := append(f.helper(), fmt.Sprintf("max_read=%d", MaxIO), "subtype=workdir", "fsname="+source)
	cmd := &exec.Cmd{
		Path: helper, Args: []string{helper, "-o", strings.Join(opts, ","), "--", dir},
		Env: []string{"_FUSE_COMMFD=3"}, Dir: "/", ExtraFiles: []*os.File{theirs},
	}
	out, err := cmd.CombinedOutput()
	theirs.Close()
	if err != nil {
		return -1, &Error{Path: dir, What: helperText(out, err), Hint: HelperHint()}
	}
	fd, err := receiveFD(pair[0])
	if err != nil {
		return -1, &Error{Path: dir, What: "fusermount3 gave no descriptor: " + err.Error()}
	}
	return fd, nil
}

// helperText returns the output of fusermount3 for a message.
func helperText(out []byte, err error) string {
	text := strings.TrimPrefix(strings.TrimSpace(string(out)), "fusermount3: ")
	if text == "" {
		text = err.Error()
	}
	return "fusermount3: " + text
}

// HelperHint says why fusermount3 may have refused, if the cause can be found.
func HelperHint() string {
	id := strconv.Itoa(os.Getuid())
	if _, err := user.LookupId(id); err != nil {
		return "fusermount3 mounts only for users that have a name: add a line for user " + id + " to /etc/passwd, or run as another user"
	}
	noNewPrivs, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
	if err == nil && noNewPrivs == 1 {
		return "it cannot become root here: start this without no-new-privileges, as root, or in a user namespace (unshare -Urm)"
	}
	canAdmin, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, unix.CAP_SYS_ADMIN, 0, 0, 0)
	if err == nil && canAdmin == 0 {
		return "nobody has CAP_SYS_ADMIN here: give it to the container (--cap-add SYS_ADMIN), or start this in a user namespace (unshare -Urm)"
	}
	return ""
}

func receiveFD(sock int) (int, error) {
	buf, oob := make([]byte, 1), make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(sock, buf, oob, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return -1, err
	}
	msgs, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil {
		return -1, err
	}
	for i := range msgs {
		if fds, err := unix.ParseUnixRights(&msgs[i]); err == nil && len(fds) == 1 {
			return fds[0], nil
		}
	}
	return -1, errors.New("no descriptor in the message")
}

// Unmount is a plain umount(2), neither lazy nor forced. EBUSY: the mount is in use.
func Unmount(dir string) error {
	if os.Geteuid() == 0 {
		err := unix.Unmount(dir, unix.UMOUNT_NOFOLLOW)
		if !errors.Is(err, unix.EPERM) {
			return err
		}
	}
	out, err := runFusermount("-u", dir)
	if err == nil || errors.Is(err, ErrCannotMount) {
		return err
	}
	// fusermount3 has one exit code for every failure; the mount table shows which it was.
	if table, terr := MountTable("self"); terr == nil {
		if _, ok := TopMountAt(table, dir); ok {
			return unix.EBUSY
		}
	}
	return errors.New(helperText(out, err))
}

// Detach takes a mount out of the tree of names at once, even if it is in use (MNT_DETACH).
// It is for mounts that will not be stored.
func Detach(dir string) error {
	if os.Geteuid() == 0 {
		err := unix.Unmount(dir, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		if !errors.Is(err, unix.EPERM) {
			return err
		}
	}
	if out, err := runFusermount("-uz", dir); err != nil {
		return errors.New(helperText(out, err))
	}
	return nil
}

func runFusermount(flag, dir string) ([]byte, error) {
	helper, err := Fusermount()
	if err != nil {
		return nil, err
	}
	cmd := &exec.Cmd{Path: helper, Args: []string{helper, flag, "--", dir}, Env: []string{}, Dir: "/"}
	return cmd.CombinedOutput()
}
