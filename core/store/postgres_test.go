package store

import (
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

func TestPostgresLock(t *testing.T) {
	dir := t.TempDir()
	o := Options{DSN: schema(t, dir), Path: filepath.Join(dir, "a.db"), Self: node(0)}
	s := open(t, o)
	o.Path = filepath.Join(dir, "b.db") // a process on another host
	_, err := Open(t.Context(), o)
	if want := "is held by another nodeprobe (server process "; !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), want) {
		t.Errorf("second store: got %v, want %v that says %q", err, ErrLocked, want)
	}
	other := o
	other.DSN, other.Path = schema(t, dir+" another"), filepath.Join(dir, "c.db")
	open(t, other)
	must(t, s.Close())
	open(t, o)
}

func TestPostgresCannotOpen(t *testing.T) {
	p := server(t)
	for name, c := range map[string]struct{ dsn, want string }{
		"not running": {
			"postgres://me:hush@127.0.0.1:1/hub?sslmode=disable",
			"open store postgres://me@127.0.0.1:1/hub: PostgreSQL cannot be used: failed to connect to `user=me database=hub`: 127.0.0.1:1 (127.0.0.1): dial error: ",
		},
		"no such schema":   {p.dsn("nowhere"), `there is no schema "nowhere"; make it with CREATE SCHEMA`},
		"no such database": {strings.Replace(p.dsn("public"), "/postgres?", "/nowhere?", 1), `database "nowhere" does not exist`},
		"no such option":   {"postgres://me:hush@h/hub?sslmode=perhaps", "storage.dsn: cannot parse `postgres://me:xxxxx@h/hub?sslmode=perhaps`: "},
		"only for reading": {
			p.dsn("public") + "&default_transaction_read_only=on",
			"read-only transaction",
		},
	} {
		_, err := Open(t.Context(), Options{DSN: c.dsn, Path: filepath.Join(t.TempDir(), "x")})
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.ContainsAny(err.Error(), "\n\t") || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: got %v\nwant %q", name, err, c.want)
		}
	}
}

// A server that crashes costs nothing that was acknowledged, and what was not is
// stored once when it is back.
func TestPostgresRestart(t *testing.T) {
	p := ownServer(t)
	s := open(t, Options{DSN: p.dsn("public"), Records: records})
	must(t, s.AddReporter(t.Context(), "a", results))
	saveRuns(t, s, 1, 10)

	p.stop()
	r := result(2, 100, epoch, 1)
	r.Metrics = []core.Metric{{Name: "a_ratio", Value: 1}}
	lost := []core.Result{r, failure(3, 101, epoch, core.OutcomeFailure, "new", "new")}
	for range 2 {
		if err := s.SaveResults(t.Context(), lost); err == nil || strings.ContainsAny(err.Error(), "\n\t") {
			t.Fatalf("saved without a server: %v", err)
		}
	}
	if err := s.Check(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "history is not being written: ") {
		t.Errorf("check without a server: %v", err)
	}
	must(t, p.start())
	must(t, s.SaveResults(t.Context(), lost))
	must(t, s.Check(t.Context()))
	wantBacklog(t, s, map[string]int{"a": 12})
	if got := [3]int{runs(t, s, 1), runs(t, s, 2), runs(t, s, 3)}; got != [3]int{10, 1, 1} {
		t.Errorf("got %d runs, want [10 1 1]", got)
	}

	// A connection that breaks when everything is committed but not told.
	err := s.write(t.Context(), func(ctx context.Context, c *commit) error {
		must(t, c.saveResults(ctx, []core.Result{result(4, 200, epoch, 1)}))
		if _, err := c.tx.ExecContext(ctx, "COMMIT"); err != nil {
			return err
		}
		_, err := c.tx.ExecContext(ctx, "SELECT pg_terminate_backend(pg_backend_pid())")
		return err
	})
	if err == nil || !s.db.down(err) {
		t.Fatalf("got %v, want an error of the connection", err)
	}
	must(t, s.SaveResults(t.Context(), []core.Result{result(4, 200, epoch, 1), result(5, 201, epoch, 1)}))
	if got := [2]int{runs(t, s, 4), runs(t, s, 5)}; got != [2]int{1, 1} {
		t.Errorf("got %d runs, want [1 1]", got)
	}
	st, err := s.Stats(t.Context())
	must(t, err)
	if st.Rows != 15 || st.Bytes == 0 {
		t.Errorf("got %d rows, %d bytes; want 15 rows", st.Rows, st.Bytes)
	}
}

// answering has every job succeed at once.
type answering chan []core.Result

func (a answering) Results() <-chan []core.Result { return a }

func (a answering) Submit(j core.Job) error {
	a <- []core.Result{{Job: j, Outcome: core.OutcomeSuccess, Started: time.Now(), RTT: time.Millisecond}}
	return nil
}

// While the server is down, results wait in the engine; when it is back they are
// saved by themselves, each once.
func TestPostgresBacklog(t *testing.T) {
	p := ownServer(t)
	s := open(t, Options{DSN: p.dsn("public")})
	told, committed := make(chan error, 16), make(chan int, 4096)
	e := core.NewEngine(core.EngineOptions{
		Dispatcher: make(answering, 4096), Store: s, Self: node(0),
		Committed:   func(rs []core.Result) { committed <- len(rs) },
		StoreFailed: func(err error) { told <- err },
	})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { must(t, e.Run(ctx)) })
	e.SetProbes([]core.ProbeInfo{{Name: "https", Interval: 100 * time.Millisecond, Timeout: 50 * time.Millisecond}})
	e.SetPeers([]core.Peer{{Target: core.Target{Node: node(1)}}, {Target: core.Target{Node: node(2)}}})

	<-committed
	p.stop()
	if err := <-told; err == nil || !s.db.down(err) {
		t.Errorf("told %v, want an error of the connection", err)
	}
	for e.Stats().Unsaved < 20 {
		time.Sleep(10 * time.Millisecond)
	}
	must(t, p.start())
	if err := <-told; err != nil {
		t.Errorf("told %v, want that all is well", err)
	}
	cancel()
	running.Wait()
	var rows, different int
	must(t, s.reader.QueryRow("SELECT COUNT(*), COUNT(DISTINCT (node_id, ts_ms)) FROM poll_results").Scan(&rows, &different))
	if st := e.Stats(); rows != int(st.Runs) || different != rows || st.Dropped+st.Lost > 0 || st.Unsaved > 0 {
		t.Errorf("got %d rows, %d different, %+v; want one of each run", rows, different, st)
	}
}

// Both kinds of database have the same migrations, but that PostgreSQL begins
// where SQLite was at that time.
func TestMigrationsPair(t *testing.T) {
	numbers := map[string][]string{}
	for _, kind := range []string{"sqlite", "postgres"} {
		names, err := fs.Glob(migrationFiles, "migrations/"+kind+"/*.sql")
		must(t, err)
		for _, name := range names {
			numbers[kind] = append(numbers[kind], filepath.Base(name)[:4])
		}
	}
	lite, post := strings.Join(numbers["sqlite"], " "), strings.Join(numbers["postgres"], " ")
	if post == "" || !strings.HasSuffix(lite, post) {
		t.Errorf("SQLite has %s, PostgreSQL %s", lite, post)
	}
}

// What people see with psql.
func TestPostgresViews(t *testing.T) {
	s := open(t, Options{DSN: schema(t, t.Name())})
	must(t, s.SaveNodes(t.Context(), []core.Node{{
		ID: node(1), FQDN: "a.example", Endpoints: []core.Endpoint{{Host: "a.example", Port: 443}, {Host: "10.0.0.1", Port: 443}},
		State: core.StateSuspect, FirstSeen: epoch, LastSeen: epoch.Add(1500 * time.Millisecond),
	}}))
	r := failure(1, 1, epoch, core.OutcomeFailure, "timeout", "no answer")
	r.RTT, r.Metrics = 1500*time.Microsecond, []core.Metric{{Name: "loss_ratio", Value: 0.5}}
	must(t, s.SaveResults(t.Context(), []core.Result{r}))
	for query, want := range map[string]string{
		"SELECT concat_ws('|', fqdn, ip, first_seen AT TIME ZONE 'UTC', last_seen AT TIME ZONE 'UTC', is_active, state) FROM nodes": "a.example|10.0.0.1|DAY 12:00:00|DAY 12:00:01.5|t|suspect",
		"SELECT concat_ws('|', fqdn, probe, at AT TIME ZONE 'UTC', outcome, reason, message, rtt_us, hour) FROM poll_results":       "a.example|https|DAY 12:00:00|failure|timeout|no answer|1500|DAYT12",
		"SELECT concat_ws('|', fqdn, probe, metric, value, hour) FROM metric_results":                                               "a.example|https|loss_ratio|0.5|DAYT12",
	} {
		var got string
		must(t, s.reader.DB.QueryRow(query).Scan(&got))
		if want = strings.ReplaceAll(want, "DAY", epoch.Format(time.DateOnly)); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", query, got, want)
		}
	}
	if _, err := s.reader.Exec("DELETE FROM tail"); err == nil {
		t.Error("a reader can write")
	}
}

// A reader works beside the node, and tells what is there.
func TestPostgresReader(t *testing.T) {
	o := Options{DSN: schema(t, t.Name())}
	if _, err := OpenReader(t.Context(), o); !errors.Is(err, ErrNoDatabase) {
		t.Errorf("an empty schema: got %v, want %v", err, ErrNoDatabase)
	}
	w := stopped(t, o)
	rs := motley(rand.New(rand.NewPCG(1, 2)), epoch, 500, 10*time.Second)
	w.save(t, rs[:400]...)
	w.settle(t, rs[399].At())
	w.save(t, rs[400:]...)
	r, err := OpenReader(t.Context(), o)
	must(t, err)
	defer r.Close()
	if want := "postgres://nodeprobe@/postgres?host=" + server(t).dir; r.Path() != want {
		t.Errorf("got path %s, want %s", r.Path(), want)
	}
	st, err := r.Stats(t.Context())
	must(t, err)
	n := 0
	must(t, r.Results(t.Context(), ExportQuery{}, func(ResultRow) error { n++; return nil }))
	if n != len(rs) || st.Rows != w.tailRows+w.packed.rows || st.Bytes == 0 || st.Space.Raw == 0 {
		t.Errorf("got %d of %d runs, %+v", n, len(rs), st)
	}
	if _, err := r.s.reader.Exec("DELETE FROM tail"); err == nil {
		t.Error("a reader can write")
	}
}
