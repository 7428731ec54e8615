// Temporal-dev is a Temporal server of one process, for tests, the demo and the
// examples: all of its services, on 127.0.0.1 only, in memory or in one SQLite
// file. Where there is a "temporal" command, "temporal server start-dev" does the
// same.
//
//	temporal-dev [--port 7233] [--namespace default] [--db FILE] [--log-level error]
//
// It prints "ready: 127.0.0.1:PORT" once clients can work, and ends with exit code
// 0 on SIGINT or SIGTERM. Port 0 is one that the system chooses. With --db all
// that happened is there again after the next start.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

func main() {
	var opts options
	flag.IntVar(&opts.port, "port", 7233, "port of the frontend on 127.0.0.1; 0: any free one")
	flag.StringVar(&opts.namespace, "namespace", "default", "namespace that is made if it is not there")
	flag.StringVar(&opts.db, "db", "", "SQLite `file` that keeps everything; without it all is in memory")
	flag.StringVar(&opts.logLevel, "log-level", "error", "debug, info, warn, error or fatal; the log goes to stderr")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "temporal-dev: unexpected argument %q\n", flag.Arg(0))
		os.Exit(2)
	}
	if err := run(opts); err != nil {
		fmt.Fprintln(os.Stderr, "temporal-dev:", err)
		os.Exit(1)
	}
}

// run serves until SIGINT or SIGTERM.
func run(opts options) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	server, address, err := newServer(opts)
	if err != nil {
		return err
	}
	if err := server.Start(); err != nil {
		return fmt.Errorf("start server: %w", err)
	}
	if err := awaitReady(ctx, address, opts.namespace); err != nil {
		_ = server.Stop() // the first error is the one to report
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	fmt.Println("ready:", address)
	<-ctx.Done()
	return server.Stop()
}

// startTimeout is how long a server may take until clients can work. A loaded
// machine with one core takes some seconds.
const startTimeout = 2 * time.Minute

// awaitReady returns when the namespace answers: a server that accepts
// connections may not know it yet.
func awaitReady(ctx context.Context, address, namespace string) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return fmt.Errorf("client of %s: %w", address, err)
	}
	defer func() { _ = conn.Close() }() // nothing was sent that could be lost
	frontend := workflowservice.NewWorkflowServiceClient(conn)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		_, err := frontend.ListOpenWorkflowExecutions(ctx, &workflowservice.ListOpenWorkflowExecutionsRequest{Namespace: namespace, MaximumPageSize: 1})
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("namespace %q of %s does not answer: %w", namespace, address, err)
		}
	}
}
