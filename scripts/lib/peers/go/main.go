// The application of scripts/compare on gorilla/websocket: [--every-ms N] [--cert FILE --key FILE] [--deflate].
//
// A client says the list of its topics. It gets each of their updates as it comes; with --every-ms what changed, each
// so many ms. Updates are lines "STAMP TOPIC DATA" on stdin; SIGUSR2 has it collect garbage. As in the package's chat example each client has a
// goroutine that reads and one that writes what comes by its channel, and one whose channel is full is cut. The first
// line on stdout is "listening data=127.0.0.1:PORT".
package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"github.com/gorilla/websocket"
)

const (
	waitingMax = 256
	writeMax   = 10 * time.Second
)

type client struct {
	conn     *websocket.Conn
	prepared chan *websocket.PreparedMessage
	texts    chan []byte
	watched  []*symbol
}

type hub struct {
	sync.Mutex
	rooms      map[string]map[*client]struct{}
	watchers   map[*client]struct{}
	conflation *conflation
}

var (
	everyMs  = flag.Int("every-ms", 0, "")
	cert     = flag.String("cert", "", "")
	key      = flag.String("key", "", "")
	deflate  = flag.Bool("deflate", false, "")
	upgrader websocket.Upgrader
	shared   = &hub{
		rooms:      map[string]map[*client]struct{}{},
		watchers:   map[*client]struct{}{},
		conflation: &conflation{symbols: map[string]*symbol{}},
	}
)

func main() {
	flag.Parse()
	// Garbage is of short life here, and memory is there.
	debug.SetGCPercent(400)
	upgrader = websocket.Upgrader{
		ReadBufferSize:    1024,
		WriteBufferSize:   4096,
		WriteBufferPool:   &sync.Pool{},
		EnableCompression: *deflate,
		CheckOrigin:       func(*http.Request) bool { return true },
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Printf("listening data=%s\n", listener.Addr())
	server := &http.Server{Handler: http.HandlerFunc(serve), ErrorLog: nil}
	if *cert != "" {
		server.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS13}
		server.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){}
		go server.ServeTLS(listener, *cert, *key)
	} else {
		go server.Serve(listener)
	}
	if *everyMs > 0 {
		go flush(time.Duration(*everyMs) * time.Millisecond)
	}
	collects := make(chan os.Signal, 1)
	signal.Notify(collects, syscall.SIGUSR2)
	go func() {
		for range collects {
			debug.FreeOSMemory()
		}
	}()
	read()
}

func serve(answer http.ResponseWriter, request *http.Request) {
	conn, err := upgrader.Upgrade(answer, request, nil)
	if err != nil {
		return
	}
	c := &client{conn: conn}
	var topics []string
	if _, said, err := conn.ReadMessage(); err != nil || json.Unmarshal(said, &topics) != nil {
		conn.Close()
		return
	}
	shared.join(c, topics)
	go c.write()
	go func() {
		// On a goroutine of its own, so that what serving the request needed is given back.
		for {
			if _, _, err := conn.NextReader(); err != nil {
				break
			}
		}
		shared.leave(c, topics)
	}()
}

func (c *client) write() {
	defer c.conn.Close()
	for {
		var err error
		select {
		case message, open := <-c.prepared:
			if !open {
				return
			}
			c.conn.SetWriteDeadline(time.Now().Add(writeMax))
			err = c.conn.WritePreparedMessage(message)
		case text, open := <-c.texts:
			if !open {
				return
			}
			c.conn.SetWriteDeadline(time.Now().Add(writeMax))
			err = c.conn.WriteMessage(websocket.TextMessage, text)
		}
		if err != nil {
			return
		}
	}
}

func (h *hub) join(c *client, topics []string) {
	h.Lock()
	defer h.Unlock()
	if *everyMs > 0 {
		c.texts = make(chan []byte, waitingMax)
		c.watched = h.conflation.watch(topics)
		h.watchers[c] = struct{}{}
		return
	}
	c.prepared = make(chan *websocket.PreparedMessage, waitingMax)
	for _, topic := range topics {
		if h.rooms[topic] == nil {
			h.rooms[topic] = map[*client]struct{}{}
		}
		h.rooms[topic][c] = struct{}{}
	}
}

func (h *hub) leave(c *client, topics []string) {
	h.Lock()
	defer h.Unlock()
	delete(h.watchers, c)
	for _, topic := range topics {
		delete(h.rooms[topic], c)
	}
	c.conn.Close()
}

func (h *hub) publish(stamp, topic, data []byte) {
	text := fmt.Appendf(nil, `{"ts":%s,"topic":"%s","data":%s}`, stamp, topic, data)
	message, err := websocket.NewPreparedMessage(websocket.TextMessage, text)
	if err != nil {
		panic(err)
	}
	for c := range h.rooms[string(topic)] {
		select {
		case c.prepared <- message:
		default:
			delete(h.rooms[string(topic)], c)
			c.conn.Close()
		}
	}
}

func flush(every time.Duration) {
	for range time.Tick(every) {
		shared.Lock()
		shared.conflation.flush(shared.watchers, func(c *client, text []byte) {
			select {
			case c.texts <- text:
			default:
				delete(shared.watchers, c)
				c.conn.Close()
			}
		})
		shared.Unlock()
	}
}

func read() {
	lines := bufio.NewReaderSize(os.Stdin, 64<<10)
	for {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF {
			return
		}
		line = bytes.TrimSuffix(line, []byte("\n"))
		parts := bytes.SplitN(line, []byte(" "), 3)
		if len(parts) < 3 {
			continue
		}
		shared.Lock()
		if *everyMs > 0 {
			shared.conflation.take(string(parts[0]), string(parts[1]), parts[2])
		} else {
			shared.publish(parts[0], parts[1], parts[2])
		}
		shared.Unlock()
	}
}
