#include <doctest/doctest.h>

#include "runtime/oci/systemd_bus.h"
#include "runtime/oci/systemd_scope.h"

using namespace strata::runtime::oci;

TEST_CASE("D-Bus bodies are aligned as the specification says") {
  DbusBody body;
  body.byte(1).uint32(2).byte(3).uint64(4).text("ab").signature("s");
  const std::string expected("\x01\0\0\0\x02\0\0\0\x03\0\0\0\0\0\0\0\x04\0\0\0\0\0\0\0\x02\0\0\0ab\0\x01s\0", 34);
  CHECK(body.bytes() == expected);
  DbusBody list;
  const std::size_t array = list.begin_array(8);
  list.begin_struct().text("x");
  list.begin_struct().text("y");
  list.end_array(array, 8);
  // The padding in front of the first struct is not counted.
  CHECK(list.bytes() == std::string("\x0e\0\0\0\0\0\0\0\x01\0\0\0x\0\0\0\x01\0\0\0y\0", 22));
  DbusBody empty;
  empty.end_array(empty.begin_array(8), 8);
  CHECK(empty.bytes() == std::string(8, '\0'));
}

TEST_CASE("D-Bus messages are read, and what is none is not") {
  // A JobRemoved signal as systemd sends it.
  DbusBody body;
  body.uint32(7).text("/org/freedesktop/systemd1/job/7").text("a.scope").text("done");
  DbusBody message;
  message.byte('l').byte(4).byte(1).byte(1).uint32(static_cast<std::uint32_t>(body.bytes().size())).uint32(9);
  const std::size_t fields = message.begin_array(8);
  message.begin_struct().byte(3).signature("s").text("JobRemoved");
  message.begin_struct().byte(5).signature("u").uint32(5);
  message.begin_struct().byte(8).signature("g").signature("uoss");
  message.end_array(fields, 8);
  message.begin_struct();
  const std::string bytes = message.bytes() + body.bytes();
  const DbusMessage parsed = parse_dbus_message(bytes);
  CHECK(parsed.type == 4);
  CHECK(parsed.member == "JobRemoved");
  CHECK(parsed.reply_to == 5);
  CHECK(parsed.text_at(1) == "/org/freedesktop/systemd1/job/7");
  CHECK(parsed.text_at(3) == "done");
  CHECK(parsed.text_at(4).empty());
  // Cut off or changed anywhere: no crash, and nothing that was not there.
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    static_cast<void>(parse_dbus_message(std::string_view(bytes).substr(0, length)).text_at(3));
    for (const char wrong : {'\0', '\x7f', '\xff'}) {
      std::string changed = bytes;
      changed[length] = wrong;
      static_cast<void>(parse_dbus_message(changed).text_at(3));
    }
  }
}

TEST_CASE("cgroupsPath of the systemd driver") {
  CHECK(parse_systemd_scope("a-b.slice:docker:x", "id")->unit == "docker-x.scope");
  CHECK(parse_systemd_scope("a-b.slice:docker:x", "id")->slice == "a-b.slice");
  CHECK(parse_systemd_scope(":docker:x", "id")->slice == "system.slice");
  CHECK(parse_systemd_scope("a.slice::x", "id")->unit == "x.scope");
  CHECK(parse_systemd_scope("a.slice:b:x.slice", "id")->unit.empty());
  CHECK(parse_systemd_scope("", "id")->unit == "strata-runtime-id.scope");
  CHECK_FALSE(parse_systemd_scope("/a/b", "id"));
}
