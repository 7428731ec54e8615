package integration

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/workdir/workdir/internal/testenv"
)

// defaultSQLiteKills is for each journal mode, by all ways together.
const defaultSQLiteKills = 60

// sqliteBatch is the number of rows that each transaction adds.
const sqliteBatch = 100

// A writer of SQLite that is killed at any instant leaves a database that is
// sound, has whole transactions only, and has all of which SQLite said that they
// are done.
func TestSQLiteKilled(t *testing.T) {
	first := seed(t)
	kills := testenv.Number(t, sqliteVariable, defaultSQLiteKills)
	for _, mode := range []string{"wal", "delete"} {
		t.Run(mode, func(t *testing.T) {
			onWays(t, func(e *env, w way) {
				r := rand.New(rand.NewPCG(uint64(first), uint64(len(mode))))
				url, kills, last := e.url("db"), w.of(kills), 0
				for _, share := range []int{kills - kills/4, kills / 4, 0} { // of a new file; then of one from the archive
					e.workBy(w, url, func(dir string) {
						db := filepath.Join(dir, "db")
						if last > 0 {
							if got := e.checkDatabase(db, last); got != last {
								e.t.Errorf("after a commit there are %d transactions, want %d", got, last)
							}
						}
						for range share {
							acknowledged := e.killWriter(db, mode, r)
							last = e.checkDatabase(db, max(last, acknowledged))
						}
					})
				}
				e.t.Logf("%d kills, %d transactions", kills, last)
			})
		})
	}
}

// killWriter runs a writer and kills it while it is at work. It returns the number of
// the last transaction that the writer has acknowledged, 0 if none.
func (e *env) killWriter(db, mode string, r *rand.Rand) int {
	e.t.Helper()
	cmd := e.program("sqlite3", "-batch", db)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		e.t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		e.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		e.t.Fatal(err)
	}
	fed := make(chan struct{})
	go func() { // it always has more to do than is waited for
		defer close(fed)
		feedWriter(stdin, mode)
	}()
	acknowledged, out := 0, bufio.NewScanner(stdout)
	for wait := r.IntN(12); wait >= 0 && out.Scan(); {
		if n, err := strconv.Atoi(out.Text()); err == nil { // pragmas print too
			acknowledged = n
			wait--
		}
	}
	for range r.IntN(20_000) { // some microseconds more, into the next transaction
		_ = r.Uint64()
	}
	if err := cmd.Process.Kill(); err != nil {
		e.t.Fatalf("the writer ended by itself: %v", err)
	}
	_ = cmd.Wait() // it was killed
	<-fed
	return acknowledged
}

// feedWriter sends transactions until the writer has ended. Each adds rows of one number, one
// more than the last, and has it printed when it is done. They are larger than the cache, so
// that halves of them are written to files.
func feedWriter(w io.WriteCloser, mode string) {
	defer w.Close()
	_, err := fmt.Fprintf(w, "pragma journal_mode=%s; pragma cache_size=5; pragma cache_spill=5; create table if not exists t(n integer, s blob); create index if not exists i on t(n);\n", mode)
	for err == nil {
		_, err = fmt.Fprintf(w, `begin; create temp table m as select coalesce(max(n),0)+1 as n from t;
			with recursive c(i) as (select 1 union all select i+1 from c where i<%d)
			insert into t select m.n, randomblob(700) from c, m;
			update t set s=randomblob(650) where n=(select n-1 from m); commit;
			select n from m; drop table m;
`, sqliteBatch)
	}
}

// checkDatabase returns the number of transactions that a database holds, which are
// at least as many as were acknowledged.
func (e *env) checkDatabase(db string, acknowledged int) int {
	e.t.Helper()
	out := mustRun(e.t, e.program("sqlite3", "-batch", db, `
		pragma integrity_check;
		select count(*) from (select n from t group by n having count(*) <> `+strconv.Itoa(sqliteBatch)+`);
		select count(distinct n) - coalesce(max(n), 0) from t;
		select coalesce(max(n), 0) from t;`))
	lines := strings.Split(strings.TrimSpace(out), "\n")
	n, err := strconv.Atoi(lines[len(lines)-1])
	if len(lines) != 4 || err != nil || lines[0] != "ok" || lines[1] != "0" || lines[2] != "0" {
		e.t.Fatalf("after a kill: the check printed %q; want ok, no part of a transaction, and none missing", out)
	}
	if n < acknowledged {
		e.t.Fatalf("after a kill: %d transactions, %d were acknowledged", n, acknowledged)
	}
	return n
}
