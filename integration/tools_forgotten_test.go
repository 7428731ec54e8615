package integration

import "testing"

// Tools that tell files apart by device and inode number, on content from an archive of
// which a third was changed, while the kernel forgets what it can: they find no two
// files to be one, and every name that they made themselves.
func TestToolsOfForgottenInodes(t *testing.T) {
	needRoot(t)
	e := newEnv(t)
	outside := e.mkdir("outside")
	exec := func(script string) {
		t.Helper()
		t.Log(mustRun(t, e.command("exec", "--view", "overlay", e.url("tools"), "--", "sh", "-euc", script, "sh", outside)))
	}
	exec(`
		mkdir -p repo/a/b; cd repo
		for i in $(seq 100); do echo content $i >$i; echo content $i >a/$i; echo content $i >a/b/$i; done
		echo '{"name": "p", "version": "1.0.0"}' >package.json
		git init -q; git add .; git -c user.name=n -c user.email=e commit -qm one`)
	defer forgetting(t)()
	exec(`
		cd repo
		for i in $(seq 1 3 100); do echo more >>$i; echo more >>a/$i; echo more >>a/b/$i; done
		test $(git status --porcelain | wc -l) = 102
		git add .; git -c user.name=n -c user.email=e commit -qm two
		test -z "$(git status --porcelain)"; git fsck --strict
		for i in 1 2 a/1 a/2 a/b/4; do test "$(find . -samefile $i)" = ./$i; done
		test $(du -ax . | wc -l) = $(find . | wc -l)
		tar cf $1/all.tar .; test $(tar tvf $1/all.tar | grep -c '^h') = 0
		test $(tar tf $1/all.tar | wc -l) = $(find . | wc -l)
		rsync -aH . $1/copy/; test -z "$(rsync -aHni --checksum --delete . $1/copy/)"
		cp -a . $1/cp; diff -r . $1/cp
		npm pack --silent --pack-destination $1; tar xzf $1/p-1.0.0.tgz -C $1; diff -r -x .git . $1/package`)
}
