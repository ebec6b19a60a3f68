// Orders, in Go. Whose they are says wxgate, in one header.
//
// Usage: go run . [PORT]
package main

import (
	"encoding/json"
	"log"
	"net/http"
	"os"
	"sync"
	"unicode/utf8"
)

type shop struct {
	mutex  sync.Mutex
	orders map[string][]string
}

type shown struct {
	OpenID string   `json:"openid"`
	Orders []string `json:"orders"`
}

func main() {
	port := "3001"
	if len(os.Args) > 1 {
		port = os.Args[1]
	}
	http.Handle("/orders", &shop{orders: make(map[string][]string)})
	log.Fatal(http.ListenAndServe("127.0.0.1:"+port, nil))
}

func (s *shop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	openid := r.Header.Get("X-WX-OPENID")
	s.mutex.Lock()
	defer s.mutex.Unlock()
	switch r.Method {
	case http.MethodGet:
	case http.MethodPost:
		item, ok := itemOf(w, r)
		if !ok {
			answer(w, http.StatusUnprocessableEntity, map[string]string{"error": "An order is of 1 to 100 characters."})
			return
		}
		s.orders[openid] = append(s.orders[openid], item)
	default:
		answer(w, http.StatusMethodNotAllowed, map[string]string{"error": "Orders are read and made."})
		return
	}
	// A list that is empty is one all the same.
	answer(w, http.StatusOK, shown{openid, append([]string{}, s.orders[openid]...)})
}

func itemOf(w http.ResponseWriter, r *http.Request) (string, bool) {
	var order struct {
		Item string `json:"item"`
	}
	if json.NewDecoder(http.MaxBytesReader(w, r.Body, 10_000)).Decode(&order) != nil {
		return "", false
	}
	length := utf8.RuneCountInString(order.Item)
	return order.Item, 0 < length && length <= 100
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
