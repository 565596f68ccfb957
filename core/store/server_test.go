package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/seahow-uk/nodeprobe/scripts/require"
)

// postgresServer is a PostgreSQL server of the tests, on a socket in a directory.
type postgresServer struct {
	bin, dir string
	as       []string // the command that makes a command run as another user
	cmd      *exec.Cmd
	alive    io.Closer // the server ends with it, and with this process
}

var theServer struct {
	once sync.Once
	*postgresServer
	err     error
	mu      sync.Mutex // guards schemas
	schemas map[string]string
}

var errNoPostgres = errors.New("PostgreSQL is not installed")

// server is the one that all tests share. Without one, the test is skipped.
func server(t testing.TB) *postgresServer {
	t.Helper()
	theServer.once.Do(func() { theServer.postgresServer, theServer.err = newServer() })
	switch err := theServer.err; {
	case err == nil:
	case errors.Is(err, errNoPostgres):
		require.Missing(t, "postgres", "%v", err)
	default:
		t.Fatal(err)
	}
	return theServer.postgresServer
}

// ownServer is one that the test may stop and start.
func ownServer(t testing.TB) *postgresServer {
	t.Helper()
	server(t) // or skip
	p, err := newServer()
	must(t, err)
	t.Cleanup(p.remove)
	return p
}

// stopServer is for the end of all tests.
func stopServer() {
	if p := theServer.postgresServer; p != nil {
		p.remove()
	}
}

func (p *postgresServer) remove() {
	p.stop()
	os.RemoveAll(p.dir)
}

func newServer() (_ *postgresServer, err error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if path, err := exec.LookPath("postgres"); err == nil {
		found = append(found, path)
	}
	if len(found) == 0 || err != nil {
		return nil, errors.Join(errNoPostgres, err)
	}
	p := &postgresServer{bin: filepath.Dir(found[len(found)-1])}
	if p.dir, err = os.MkdirTemp("", "nodeprobe-postgres-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			os.RemoveAll(p.dir)
		}
	}()
	if os.Getuid() == 0 { // as whom it does not run
		if err := p.becomeUser("postgres"); err != nil {
			return nil, err
		}
	}
	initdb := p.command("initdb", "-D", filepath.Join(p.dir, "data"), "-U", "nodeprobe", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return p, p.start()
}

func (p *postgresServer) becomeUser(name string) error {
	u, err := user.Lookup(name)
	if err != nil {
		return fmt.Errorf("%w: %w", errNoPostgres, err)
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	p.as = []string{"setpriv", "--reuid=" + u.Uid, "--regid=" + u.Gid, "--clear-groups"}
	return errors.Join(err1, err2, os.Chown(p.dir, uid, gid))
}

func (p *postgresServer) command(name string, args ...string) *exec.Cmd {
	line := slices.Concat(p.as, []string{filepath.Join(p.bin, name)}, args)
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Dir = p.dir
	return cmd
}

// start starts the server and waits until it answers.
func (p *postgresServer) start() error {
	// The shell stops the server at once when its input ends.
	p.cmd = p.command("postgres", "-D", filepath.Join(p.dir, "data"), "-k", p.dir, "-h", "", "-F", "-c", "full_page_writes=off",
		"-c", "shared_buffers=16MB", "-c", "max_connections=60", "-c", "logging_collector=off")
	p.cmd.Args = append([]string{"sh", "-c", `"$@" <&- & server=$!; read _; kill -QUIT $server; wait $server`, "sh"}, p.cmd.Args...)
	var err error
	if p.cmd.Path, err = exec.LookPath("sh"); err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(p.dir, "log"))
	if err != nil {
		return err
	}
	defer log.Close()
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if p.alive, err = p.cmd.StdinPipe(); err != nil {
		return err
	}
	if err := p.cmd.Start(); err != nil {
		return err
	}
	for range 600 {
		if err = p.exec("SELECT 1"); err == nil {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	p.stop()
	said, _ := os.ReadFile(log.Name())
	return fmt.Errorf("PostgreSQL does not start: %w\n%s", err, said)
}

// stop is as hard as the server's own crash.
func (p *postgresServer) stop() {
	p.alive.Close()
	_ = p.cmd.Wait()
}

// dsn is for a schema, which is to be there.
func (p *postgresServer) dsn(schema string) string {
	return "postgres://nodeprobe@/postgres?host=" + p.dir + "&search_path=" + schema
}

func (p *postgresServer) exec(query string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, p.dsn("public"))
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, query)
	return errors.Join(err, conn.Close(ctx))
}

// schema is the DSN of the schema that stands for a path.
func schema(t testing.TB, path string) string {
	t.Helper()
	p := server(t)
	theServer.mu.Lock()
	defer theServer.mu.Unlock()
	if dsn := theServer.schemas[path]; dsn != "" {
		return dsn
	}
	name := "s" + strconv.Itoa(len(theServer.schemas))
	must(t, p.exec("CREATE SCHEMA "+name))
	if theServer.schemas == nil {
		theServer.schemas = map[string]string{}
	}
	theServer.schemas[path] = p.dsn(name)
	return p.dsn(name)
}
