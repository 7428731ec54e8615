package integration

import (
	"os"
	"strings"
	"testing"
)

// Features that only root can use or allow are refused with the reason.
func TestOptionsOfOrdinaryUsers(t *testing.T) {
	e := newEnv(t).as(someUser)
	conf := e.path("fuse.conf")
	if err := os.WriteFile(conf, []byte("# user_allow_other\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	forbids := "mount --bind " + conf + " /etc/fuse.conf"
	for _, tt := range []struct{ flags, word string }{
		{"--allow-other", "user_allow_other"},
		{"--suid", "only root"},
		{"--dev", "only root"},
		{"--owner=keep", "only root"},
		{"--owner=0", "only root"},
		{"--owner=0:0", "only root"},
	} {
		t.Run(tt.flags, func(t *testing.T) {
			e := *e
			e.t = t
			e.refused(e.inNamespace(forbids, e.command("exec", tt.flags, e.url("k"), "--", "touch", "file")), 102, tt.word)
		})
	}
	mustRun(t, e.command("exec", "--owner=65534", e.url("k"), "--", "touch", "file")) // its own
}

// With user_allow_other in /etc/fuse.conf others get in as far as permissions
// allow.
func TestAllowOther(t *testing.T) {
	e := newEnv(t).as(someUser)
	conf := e.path("fuse.conf")
	if err := os.WriteFile(conf, []byte("user_allow_other\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	const script = `echo open >file; echo closed >private; chmod 600 private; stat -f -c %T . >"$1/up"; read -r _ <"$1/go"`
	dir := e.mountpointOf(someUser, "mnt")
	cmd := e.command("exec", "--allow-other", "--dir", dir, e.url("k"), "--", "sh", "-c", script, "sh", e.outside())
	inside := e.inNamespace("mount --bind "+conf+` /etc/fuse.conf
		mkfifo -m 666 `+e.path("outside", "go")+`
		(
			while [ ! -s `+e.path("outside", "up")+` ]; do :; done
			cd `+dir+`
			as="setpriv --reuid 1 --regid 1 --clear-groups --"
			$as cat file && ! $as cat private && ! $as touch new
			echo done >`+e.path("outside", "go")+`
		) &`, cmd)
	out, stderr, code := run(t, inside)
	if code != 0 || !strings.Contains(out, "open\n") || strings.Contains(out, "closed") || strings.Count(stderr, "Permission denied") != 2 {
		t.Errorf("exit code %d, %q, %q", code, out, stderr)
	}
}

// A container has /dev/fuse but not CAP_SYS_ADMIN: it says what is missing. In a
// user namespace, where that is allowed, it mounts.
func TestContainerWithoutSysAdmin(t *testing.T) {
	needRoot(t)
	needOpenDevice(t)
	e := newEnv(t)
	contained := func(args ...string) []string {
		return append([]string{"--bounding-set=-sys_admin", "--inh-caps=-sys_admin", "--"}, args...)
	}
	cmd := e.execCommand(e.url("k"), "echo content >file")
	e.refused(e.program("setpriv", contained(cmd.Args...)...), 102, "CAP_SYS_ADMIN", "unshare -Urm")
	mustRun(t, e.program("setpriv", contained(append([]string{"unshare", "-Urm"}, cmd.Args...)...)...))
	if got := e.mustExec(e.url("k"), "cat file"); got != "content\n" {
		t.Errorf("content = %q", got)
	}
}

// Mountpoints have any name.
func TestMountpointNames(t *testing.T) {
	long := strings.Repeat("/"+strings.Repeat("d", 199), 19) // 3,800 bytes
	for _, p := range servings {
		for name, dir := range map[string]string{
			"spaces":     "/a b  c",
			"newlines":   "/a\nb\n",
			"odd":        "/\\040 \t\"'$x,y\\",
			"not UTF-8":  "/\xff\xfe",
			"4000 bytes": long,
		} {
			t.Run(p.name+"/"+name, func(t *testing.T) {
				e := p.env(t)
				dir := e.path("m") + dir
				if name == "4000 bytes" {
					dir += "/" + strings.Repeat("e", 4000-len(dir)-1)
				}
				e.mountpointOf(e.uid, strings.TrimPrefix(dir, e.root))
				mustRun(t, p.exec(e, []string{"--dir", dir}, e.url("k"), `test "$WORKDIR" = "$1"; echo content >file`, dir))
				if got := mustRun(t, p.exec(e, []string{"--dir", dir}, e.url("k"), "cat file")); got != "content\n" {
					t.Errorf("content = %q", got)
				}
			})
		}
	}
}
