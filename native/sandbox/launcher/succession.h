// SPDX-License-Identifier: Apache-2.0
// One server after the other: what follows from what a server says, and from how one ends. Knows no
// process and no clock but by Processes, so that a hostile server can be played without any.
#ifndef VIEWFSD_LAUNCHER_SUCCESSION_H_
#define VIEWFSD_LAUNCHER_SUCCESSION_H_

#include <sys/types.h>
#include <time.h>

#include <cstdint>
#include <vector>

#include "util/unique_fd.h"

namespace viewfsd {

// What a server is told of those before it: the rest of VIEWFSD_SERVERS.
struct Past {
  // What ended the last one.
  int32_t signal = 0;
  // Have been ended by another signal than SIGKILL within the last minute.
  int32_t crashes = 0;
  // So many that nothing is to be made worse by serving on.
  bool refuses = false;
  // The last one gave way to the program that is installed.
  bool upgrade = false;
  // How many there were.
  int32_t servers = 0;
  // Seconds since the first one was started.
  int32_t age = 0;
};

// What a server is started with. Descriptors stay the caller's; -1 where there is none.
struct ServerStart {
  Past past;
  // The ends that the server's keeper, and whoever prepares its sandbox, get.
  int keeper = -1;
  int prepared = -1;
  // A channel to the predecessor's keeper.
  int predecessor = -1;
  // The first server's mount of the share.
  int share = -1;
};

// What the first process can do. Ids are those of its pid namespace.
class Processes {
 public:
  virtual ~Processes() = default;
  // Starts a child of the first process.
  virtual pid_t StartServer(const ServerStart& start) = 0;
  // Starts the program that is installed now, to say by its exit status whether it can go on.
  virtual pid_t StartProbe() = 0;
  virtual void Kill(pid_t process, int signal) = 0;
  // Seconds.
  virtual time_t Now() = 0;
  // The first server is behind the sandbox's doors.
  virtual void Ready() = 0;
  // The probe's answer was no.
  virtual void Refused() = 0;
  // All is over, as a child did, whose status (waitpid) this is. Nothing is called any more.
  virtual void End(int status) = 0;
};

class Succession {
 public:
  // `sandboxed`: servers have doors to be closed. Both stay the caller's.
  Succession(Processes* processes, bool sandboxed) : processes_(processes), sandboxed_(sandboxed) {}

  // Starts a server: the first one, or the next one a second after the last has ended (late()).
  void Start();
  // Nobody serves, and not at once will anybody.
  bool late() const { return server_ < 0; }

  // Sockets whose next message is to be heard; -1 while there is none.
  int prepared() const { return prepared_.get(); }
  int keeper() const { return keeper_.get(); }
  // From whoever prepares the present server's sandbox.
  void HearPrepared();
  // From the present server, which a guest may have taken over.
  void HearServer();

  // One that ends the server, or that it handles by itself.
  void PassOn(int signal);
  // Asks the program that is installed now whether it can go on with this state (server/main.ts),
  // before the present server gives anything up.
  void Probe();
  // `status` as from waitpid, of any child.
  void Ended(pid_t child, int status);

 private:
  void DoorsClosed();
  void ServerEnded(int status);
  void ProbeEnded(int status);

  Processes* const processes_;
  const bool sandboxed_;
  // Of the first server.
  UniqueFd share_;
  // Keeps what is mounted below the share where it is.
  UniqueFd mounts_;

  // -1 while there is none.
  pid_t server_ = -1;
  pid_t probe_ = -1;
  // The present server's: what prepares it, and its keeper.
  UniqueFd prepared_;
  UniqueFd keeper_;
  // The keeper of the one whose descriptors have not been taken yet.
  UniqueFd predecessor_;
  // The present server has taken them, and serves.
  bool serves_ = false;
  // Any one has.
  bool served_ = false;
  // The service manager has been told that there is one.
  bool told_ = false;
  // The server has been told to give way.
  bool giving_way_ = false;
  // When the first one was started.
  time_t begin_ = 0;
  // A signal has been passed on that ends the server.
  bool ending_ = false;
  Past past_;
  // Within the last minute.
  std::vector<time_t> crashes_;
};

}  // namespace viewfsd

#endif  // VIEWFSD_LAUNCHER_SUCCESSION_H_
