"""wechatpy asks the stand-in what it would ask WeChat, and understands the answers: each success, and each refusal by its number.

    WXGATE_BIN=target/release/wxgate .venv/bin/python tests/sdk/wechatpy/calls.py
"""

import base64
import unittest

import requests
from wechatpy.exceptions import APILimitedException, WeChatClientException

from stack import APP, SECRET, AtTheStandIn, client_of

# As WeChat: so many logins of one user a minute.
MINUTE_QUOTA = 100
UNUSED = "wechatpy would ask for an access token first, which no login needs"


class CodeToSession(AtTheStandIn):
    def exchange(self, code, app=APP, secret=SECRET):
        return client_of(self.wechat, app, secret, access_token=UNUSED).wxa.code_to_session(code)

    def refusal(self, code, *whose):
        with self.assertRaises(WeChatClientException) as caught:
            self.exchange(code, *whose)
        return caught.exception

    def assert_refuses(self, errcode, code, *whose):
        refusal = self.refusal(code, *whose)
        self.assertEqual(refusal.errcode, errcode)
        self.assertRegex(refusal.errmsg, r", rid: [0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}$")

    def test_a_code_is_an_openid_and_a_key(self):
        told = self.exchange(self.wechat.code("oAlice"))
        self.assertEqual(set(told), {"openid", "session_key"})
        self.assertEqual(told["openid"], "oAlice")
        self.assertEqual(len(base64.b64decode(told["session_key"], validate=True)), 16)

    def test_a_user_of_an_open_platform_has_a_unionid(self):
        self.assertEqual(self.exchange(self.wechat.code("oAlice", unionid="uAlice"))["unionid"], "uAlice")

    def test_a_code_with_odd_characters_arrives_as_it_is(self):
        code = "a+b/c=&d e%25\"'登录"
        self.wechat.code("oAlice", code=code)
        self.assertEqual(self.exchange(code)["openid"], "oAlice")

    def test_each_refusal_that_has_a_reason_has_its_number(self):
        used = self.wechat.code("oAlice")
        self.exchange(used)
        self.assert_refuses(40163, used)
        self.assert_refuses(40029, "nobody's")
        self.assert_refuses(41008, "")
        self.assert_refuses(40125, self.wechat.code("oAlice"), APP, "another secret")
        self.assert_refuses(40013, self.wechat.code("oAlice"), "wx0000000000000000", SECRET)
        self.wechat.control("users", {"openid": "oMallory", "blocked": True})
        self.assert_refuses(40226, self.wechat.code("oMallory"))

    def test_a_user_who_logs_in_too_often_is_told_so(self):
        codes = [self.wechat.code("oAlice") for _ in range(2 * MINUTE_QUOTA + 1)]
        numbers = []
        for code in codes:
            try:
                self.exchange(code)
            except WeChatClientException as refusal:
                numbers.append(refusal.errcode)
        # A minute may have begun meanwhile; two have not.
        self.assertIn(45011, numbers)
        self.assertEqual(set(numbers), {45011})

    def test_each_refusal_that_is_ordered_has_its_number(self):
        for errcode in [-1, 40164, 40243, 41002, 41004, 45011, 50001]:
            self.wechat.next_fault("errcode", errcode=errcode)
            self.assert_refuses(errcode, self.wechat.code("oAlice"))
        self.wechat.next_fault("errcode", errcode=45009)
        self.assertIsInstance(self.refusal(self.wechat.code("oAlice")), APILimitedException)

    def test_a_refusal_may_be_written_in_other_ways(self):
        self.wechat.next_fault("errcodeText", errcode=40029)
        self.assertEqual(self.refusal(self.wechat.code("oAlice")).errcode, 40029)
        self.wechat.next_fault("emptyStrings", errcode=40029)
        self.assertEqual(self.refusal(self.wechat.code("oAlice")).errcode, 40029)

    def test_a_success_may_be_written_in_other_ways(self):
        for fault in ["errcodeZero", "unknownFields"]:
            self.wechat.next_fault(fault)
            self.assertEqual(self.exchange(self.wechat.code("oAlice"))["openid"], "oAlice")

    def test_what_is_no_answer_of_wechat_is_an_error(self):
        self.wechat.next_fault("status", status=502)
        self.assertIsNone(self.refusal(self.wechat.code("oAlice")).errcode)
        for fault in ["cut", "halfAnswer"]:
            self.wechat.next_fault(fault)
            with self.assertRaises(requests.RequestException):
                self.exchange(self.wechat.code("oAlice"))

    def test_every_call_was_counted(self):
        for _ in range(3):
            self.exchange(self.wechat.code("oAlice"))
        self.assertEqual(self.wechat.control("calls", method="GET")["endpoints"], {"/sns/jscode2session": 3})


if __name__ == "__main__":
    unittest.main(verbosity=2)
