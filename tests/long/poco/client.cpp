// A client that treats its connection as MMDAgent-EX's Plugin_Remote does, on the same WebSocket library (Poco).
//
//     client HOST PORT PATH RETRIES
//
// It imitates the loop that receives and sends, the line buffer, and the reconnecting; what MMDAgent-EX would do with
// a message is left out, but for the echo. Where Plugin_Remote would crash or spin, this says so and ends.
//
// Orders, a line each on standard input. The end of the input ends the program.
//     say LINE            queue a line; it leaves in the next quiet moment
//     fin, rst            end the connection that way, and the program
//     quit                end the program as it stands
//
// Reports, a line each on standard output.
//     connected PATH      the opening handshake is done
//     frame OPCODE SIZE   a frame came
//     line LINE           a message was issued
//     avatar LINE         a line for the avatar came
//     sound WORD          SNDSTRM, SNDFILE or SNDBRKS came
//     audio SIZE          a chunk of sound came
//     sent LINE           a line of the queue has left: one of `say`, or an echo
//     lost LINE           `say` without a connection: never sent
//     deaf                what is in the line buffer can never be completed
//     closed HOW          the server ended the connection: by a fin, a close or an empty frame
//     error TEXT          an exception: in receiving, or in an attempt to connect
//     unconnected         no attempt is left
//     ended HOW           the order fin or rst was carried out
//     crash REASON        Plugin_Remote would have crashed, or would hang

#include "line_buffer.h"

#include <Poco/Net/HTTPClientSession.h>
#include <Poco/Net/HTTPRequest.h>
#include <Poco/Net/HTTPResponse.h>
#include <Poco/Net/NetException.h>
#include <Poco/Net/WebSocket.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <iostream>
#include <memory>
#include <thread>

using Poco::Net::HTTPRequest;
using Poco::Net::Socket;
using Poco::Net::WebSocket;

namespace {

const Poco::Timespan QUIET(0, 10'000);
// The kernel rounds it up to a few milliseconds: a frame whose bytes come further apart is an exception.
const Poco::Timespan RECEIVE_TIMEOUT(0, 10);
constexpr auto RETRY_PAUSE = std::chrono::milliseconds(500);
constexpr auto RENAMED_PAUSE = std::chrono::milliseconds(200);

// What the input orders, for the loop to carry out.
enum class Order { none, fin, rst };

class Remote {
public:
    Remote(const std::string &host, int port, const std::string &path, int retries)
        : host_(host), port_(port), path_(path), retries_(retries)
    {
    }

    // Connect, and stay until an order, or until no attempt is left.
    void run()
    {
        bool connected = connect();
        while (connected) {
            if (order_ != Order::none)
                end();
            try {
                if (step())
                    continue;
            } catch (const Poco::Exception &error) {
                report("error", error.displayText());
            }
            outbox_.set_connected(false);
            socket_->close();
            connected = connect();
        }
        report("unconnected");
    }

    // For the thread of the input.
    void say(const std::string &line)
    {
        if (!outbox_.put(line + "\n"))
            report("lost", line);
    }

    void order(Order order) { order_ = order; }

private:
    bool connect()
    {
        std::string path = path_;
        for (int tried = 1;; tried++) {
            auto pause = RETRY_PAUSE;
            try {
                open(path);
                outbox_.set_connected(true);
                report("connected", path);
                return true;
            } catch (const Poco::Net::WebSocketException &error) {
                report("error", error.displayText());
                if (error.message().find("Too Many Requests") != std::string::npos) {
                    path += "-" + std::to_string(tried);
                    pause = RENAMED_PAUSE;
                }
            } catch (const Poco::Exception &error) {
                report("error", error.displayText());
            }
            if (tried > retries_)
                return false;
            std::this_thread::sleep_for(pause);
        }
    }

    void open(const std::string &path)
    {
        Poco::Net::HTTPClientSession session(host_, port_);
        HTTPRequest request(HTTPRequest::HTTP_GET, path, HTTPRequest::HTTP_1_1);
        // In the order in which they shall stand; Poco replaces the key by one of its own, and adds Host.
        request.set("Upgrade", "websocket");
        request.set("Connection", "Upgrade");
        request.set("Sec-WebSocket-Version", WebSocket::WEBSOCKET_VERSION);
        request.set("Sec-WebSocket-Key", "");
        request.set("X-App-Type", "MMDAgent");
        Poco::Net::HTTPResponse response;
        socket_ = std::make_unique<WebSocket>(session, request, response);
        socket_->setReceiveTimeout(RECEIVE_TIMEOUT);
        socket_->setMaxPayloadSize(BUFFER_SIZE);
    }

    // One turn of the loop; false when the server has ended the connection.
    bool step()
    {
        Socket::SocketList readable{*socket_}, writable, failed;
        if (Socket::select(readable, writable, failed, QUIET) > 0)
            return receive();
        while (auto text = outbox_.take()) {
            socket_->sendFrame(text->data(), text->size(), WebSocket::FRAME_TEXT);
            report("sent", text->substr(0, text->find('\n')));
        }
        return true;
    }

    bool receive()
    {
        int flags = 0;
        const int size = socket_->receiveFrame(buffer_.room(), buffer_.room_size(), flags);
        const int opcode = flags & WebSocket::FRAME_OP_BITMASK;
        if (flags != 0)
            report("frame", std::to_string(opcode) + " " + std::to_string(size));
        if (opcode == WebSocket::FRAME_OP_PING) {
            // An empty one is answered with one byte, whichever lies there: a zero at first.
            socket_->sendFrame(buffer_.room(), std::max(size, 1),
                               WebSocket::FRAME_FLAG_FIN | WebSocket::FRAME_OP_PONG);
            return true;
        }
        if (opcode == WebSocket::FRAME_OP_PONG)
            return true;
        if (size <= 0) {
            report("closed", flags == 0 ? "fin" : opcode == WebSocket::FRAME_OP_CLOSE ? "close" : "empty");
            return false;
        }
        buffer_.received(size);  // Whatever it is: a Close that is not empty is text.
        return true;
    }

    [[noreturn]] void end()
    {
        if (order_ == Order::rst)
            socket_->setLinger(true, 0);
        socket_->close();
        report("ended", order_ == Order::rst ? "rst" : "fin");
        std::_Exit(0);
    }

    const std::string host_;
    const int port_;
    const std::string path_;
    const int retries_;
    std::atomic<Order> order_{Order::none};
    Outbox outbox_;
    LineBuffer buffer_{outbox_};
    std::unique_ptr<WebSocket> socket_;
};

void obey_input(Remote &remote)
{
    std::string line;
    while (std::getline(std::cin, line) && line != "quit") {
        if (starts_with(line, "say "))
            remote.say(line.substr(4));
        else if (line == "fin" || line == "rst")
            remote.order(line == "fin" ? Order::fin : Order::rst);
        else
            report("error", "no such order: " + line);
    }
    std::_Exit(0);
}

}  // namespace

int main(int count, char **arguments)
{
    if (count != 5) {
        std::cerr << "usage: client HOST PORT PATH RETRIES\n";
        return 2;
    }
    std::signal(SIGPIPE, SIG_IGN);
    Remote remote(arguments[1], std::atoi(arguments[2]), arguments[3], std::atoi(arguments[4]));
    std::thread input(obey_input, std::ref(remote));
    remote.run();
    input.join();
}
